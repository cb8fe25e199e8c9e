/**
 * Proof of delivery: which of the runtimes connected at a commit have applied its revision, and how long each took.
 */
import type { Propagation } from "@flagback/schemas";
import type { PropagationRow } from "../store/store.ts";

/** Revisions whose acknowledgements are kept one by one; older ones keep their status text. */
const KEPT_REVISIONS = 256;

export interface Acknowledgement {
  readonly instance: string;
  readonly sdk: string;
  /** From commit to acknowledgement. */
  readonly ms: number;
}

interface Spread {
  readonly revision: number;
  readonly committedMs: number;
  readonly runtimes: number;
  readonly waiting: Set<string>;
  readonly lapsed: Set<string>;
  readonly acknowledgements: Acknowledgement[];
  readonly settled: (() => void)[];
}

export class PropagationTracker {
  readonly #monotonicMs: () => number;
  readonly #spreads = new Map<number, Spread>();
  readonly #dirty = new Set<Spread>();

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  committed(revision: number, instances: Iterable<string>): void {
    const waiting = new Set(instances);
    const spread: Spread = {
      revision,
      committedMs: this.#monotonicMs(),
      runtimes: waiting.size,
      waiting,
      lapsed: new Set(),
      acknowledgements: [],
      settled: [],
    };
    this.#spreads.set(revision, spread);
    this.#dirty.add(spread);
    if (this.#spreads.size > KEPT_REVISIONS) {
      const oldest = this.#spreads.keys().next();
      if (!oldest.done) this.#spreads.delete(oldest.value);
    }
  }

  /** The instance has applied everything up to the revision. Answers how long the newest of it took. */
  applied(instance: string, sdk: string, revision: number): number | undefined {
    let newestMs: number | undefined;
    for (const spread of this.#spreads.values()) {
      if (spread.revision > revision) break;
      if (!spread.waiting.delete(instance) && !spread.lapsed.delete(instance)) continue;
      newestMs = this.#monotonicMs() - spread.committedMs;
      spread.acknowledgements.push({ instance, sdk, ms: newestMs });
      this.#changed(spread);
    }
    return newestMs;
  }

  /** The instance is gone and its lease with it: it serves no candidate and writes nothing by itself. */
  lapsed(instance: string): void {
    for (const spread of this.#spreads.values()) {
      if (!spread.waiting.delete(instance)) continue;
      spread.lapsed.add(instance);
      this.#changed(spread);
    }
  }

  /** How far a revision has spread; `undefined` where it is too old or not there yet. */
  find(revision: number): (Propagation & { readonly acknowledgements: readonly Acknowledgement[] }) | undefined {
    const spread = this.#spreads.get(revision);
    if (!spread) return undefined;
    const sorted = spread.acknowledgements.map((each) => each.ms).sort((a, b) => a - b);
    return {
      revision,
      runtimes: spread.runtimes,
      acknowledged: sorted.length,
      lapsed: spread.lapsed.size,
      p50Ms: quantile(sorted, 0.5),
      p99Ms: quantile(sorted, 0.99),
      acknowledgements: spread.acknowledgements,
    };
  }

  /** Resolves when no runtime is waited for any more, or after the time. */
  async settled(revision: number, timeoutMs: number): Promise<void> {
    const spread = this.#spreads.get(revision);
    if (!spread || spread.waiting.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      spread.settled.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Lets everybody go who waits. */
  close(): void {
    for (const { settled } of this.#spreads.values()) for (const settle of settled.splice(0)) settle();
  }

  /** Status texts that changed since the last call. */
  takeChanged(): PropagationRow[] {
    const rows = [...this.#dirty].map((spread) => ({ revision: spread.revision, switchStatus: statusOf(spread) }));
    this.#dirty.clear();
    return rows;
  }

  #changed(spread: Spread): void {
    this.#dirty.add(spread);
    if (spread.waiting.size === 0) for (const settle of spread.settled.splice(0)) settle();
  }
}

function statusOf(spread: Spread): string {
  return `applied ${spread.acknowledgements.length}/${spread.runtimes}, lapsed ${spread.lapsed.size}`;
}

function quantile(sorted: readonly number[], q: number): number | null {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? null;
}
