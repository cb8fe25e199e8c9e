/**
 * Proof of delivery: which of the runtimes connected at a commit have applied its revision, and how long each took.
 */
import type { Propagation } from "@flagback/schemas";
import type { PropagationRow } from "../store/store.ts";

/**
 * Revisions whose acknowledgements are kept one by one, and acknowledgements that are, whichever is reached first: older
 * revisions keep their status text.
 */
const KEPT_REVISIONS = 256;
const KEPT_ACKNOWLEDGEMENTS = 100_000;

export interface Acknowledgement {
  readonly instance: string;
  readonly sdk: string;
  /** From commit to acknowledgement. */
  readonly ms: number;
}

/** How far a revision came until it was followed no further. */
export interface EndedSpread {
  readonly revision: number;
  /** Connected at the commit. */
  readonly runtimes: number;
  readonly acknowledged: number;
  readonly lapsed: number;
  /** From the commit. */
  readonly ms: number;
  /** False where runtimes were still waited for. */
  readonly hasConverged: boolean;
}

/** How far a revision has come, in numbers. */
export interface SpreadProgress {
  /** Runtimes that neither acknowledged it nor lost their lease. */
  readonly waiting: number;
  readonly lapsed: number;
  /** From the commit to the last acknowledgement; 0 before the first. */
  readonly slowestMs: number;
}

interface Spread {
  readonly revision: number;
  readonly committedMs: number;
  readonly runtimes: number;
  readonly waiting: Set<string>;
  readonly lapsed: Set<string>;
  readonly acknowledgements: Acknowledgement[];
  /** Who is called when it has settled, or is forgotten. */
  readonly followers: Set<() => void>;
  /** Whoever follows it was told that it ended. */
  hasEnded: boolean;
}

export class PropagationTracker {
  readonly #monotonicMs: () => number;
  readonly #ended: (spread: EndedSpread) => void;
  readonly #spreads = new Map<number, Spread>();
  /** Those that somebody may still acknowledge, in the order of their revisions. */
  readonly #open = new Set<Spread>();
  #acknowledgements = 0;
  readonly #dirty = new Set<Spread>();

  /** `ended` is told once of each revision that it need not be followed further. */
  constructor(monotonicMs: () => number, ended: (spread: EndedSpread) => void = () => undefined) {
    this.#monotonicMs = monotonicMs;
    this.#ended = ended;
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
      followers: new Set(),
      hasEnded: false,
    };
    this.#spreads.set(revision, spread);
    if (spread.runtimes > 0) this.#open.add(spread);
    this.#dirty.add(spread);
    if (spread.runtimes === 0) this.#end(spread);
    this.#forgetOldest();
  }

  /** The instance has applied everything up to the revision. Answers how long the newest of it took. */
  applied(instance: string, sdk: string, revision: number): number | undefined {
    let newestMs: number | undefined;
    for (const spread of this.#open) {
      if (spread.revision > revision) break;
      if (!spread.waiting.delete(instance) && !spread.lapsed.delete(instance)) continue;
      newestMs = this.#monotonicMs() - spread.committedMs;
      spread.acknowledgements.push({ instance, sdk, ms: newestMs });
      this.#acknowledgements += 1;
      this.#changed(spread);
    }
    return newestMs;
  }

  /** The instance is gone and its lease with it: it serves no candidate and writes nothing by itself. */
  lapsed(instance: string): void {
    for (const spread of this.#open) {
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

  /** As `find`, without looking at each acknowledgement. */
  progressOf(revision: number): SpreadProgress | undefined {
    const spread = this.#spreads.get(revision);
    if (!spread) return undefined;
    // They are in the order they came.
    const slowestMs = spread.acknowledgements.at(-1)?.ms ?? 0;
    return { waiting: spread.waiting.size, lapsed: spread.lapsed.size, slowestMs };
  }

  /** The oldest revision that runtimes are waited for, and how long ago it was committed. */
  oldestWaiting(): { readonly ageMs: number; readonly runtimes: number } | undefined {
    for (const { waiting, committedMs } of this.#open) {
      if (waiting.size > 0) return { ageMs: this.#monotonicMs() - committedMs, runtimes: waiting.size };
    }
    return undefined;
  }

  /** Calls back once no runtime is waited for any more, at once where none is. Answers how to be forgotten. */
  whenSettled(revision: number, callBack: () => void): () => void {
    const spread = this.#spreads.get(revision);
    if (!spread || spread.waiting.size === 0) callBack();
    else spread.followers.add(callBack);
    return () => void spread?.followers.delete(callBack);
  }

  /** Writes the status texts that changed since the last time; those that could not be written are written with the next. */
  async writeChanged(write: (rows: readonly PropagationRow[]) => Promise<void>): Promise<void> {
    const changed = [...this.#dirty];
    if (changed.length === 0) return;
    this.#dirty.clear();
    try {
      await write(changed.map((spread) => ({ revision: spread.revision, switchStatus: statusOf(spread) })));
    } catch (error) {
      for (const spread of changed) this.#dirty.add(spread);
      throw error;
    }
  }

  #forgetOldest(): void {
    for (const [revision, spread] of this.#spreads) {
      const isTooMuch = this.#spreads.size > KEPT_REVISIONS || this.#acknowledgements > KEPT_ACKNOWLEDGEMENTS;
      // Whoever waits for the newest still wants it.
      if (!isTooMuch || this.#spreads.size === 1) return;
      this.#spreads.delete(revision);
      this.#open.delete(spread);
      this.#acknowledgements -= spread.acknowledgements.length;
      release(spread);
      this.#end(spread);
    }
  }

  #changed(spread: Spread): void {
    this.#dirty.add(spread);
    if (spread.waiting.size === 0 && spread.lapsed.size === 0) this.#open.delete(spread);
    if (spread.waiting.size > 0) return;
    release(spread);
    this.#end(spread);
  }

  #end(spread: Spread): void {
    if (spread.hasEnded) return;
    spread.hasEnded = true;
    this.#ended({
      revision: spread.revision,
      runtimes: spread.runtimes,
      acknowledged: spread.acknowledgements.length,
      lapsed: spread.lapsed.size,
      ms: this.#monotonicMs() - spread.committedMs,
      hasConverged: spread.waiting.size === 0,
    });
  }
}

function release({ followers }: Spread): void {
  for (const callBack of followers) callBack();
  followers.clear();
}

function statusOf(spread: Spread): string {
  return `applied ${spread.acknowledgements.length}/${spread.runtimes}, lapsed ${spread.lapsed.size}`;
}

function quantile(sorted: readonly number[], q: number): number | null {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? null;
}
