/**
 * When the brain judges: aliases that have news are judged together, pass after pass, and between two passes it rests for
 * max(5 ms, 4 x the last pass's time), a second at most, so that leases and the stream keep most of the event loop where ledgers are long.
 */
import { timerMs } from "../rest.ts";

/** Least time between the end of one pass and the start of the next; well below the 20 ms that a verdict may be late. */
const REST_MS = 5;
/** After a pass the brain rests this many times as long as the pass took. */
const REST_FACTOR = 4;
/** It rests no longer than this: a pass may have waited for the disk. */
const MAX_REST_MS = 1_000;
/** An alias that could not be judged is tried again after this. */
const RETRY_DELAY_MS = 1_000;

export class Passes {
  readonly #judge: (alias: string, arrivedAtMs: number) => Promise<void>;
  readonly #onError: (error: unknown, alias: string) => void;
  readonly #monotonicMs: () => number;
  /** Aliases to judge, with the arrival of their last news. */
  readonly #dirty = new Map<string, number>();
  readonly #retries = new Set<NodeJS.Timeout>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #endedAtMs = Number.NEGATIVE_INFINITY;
  #lastPassMs = 0;
  #isClosed = false;

  constructor(parts: {
    readonly judge: (alias: string, arrivedAtMs: number) => Promise<void>;
    readonly onError: (error: unknown, alias: string) => void;
    /** Milliseconds that never go back. */
    readonly monotonicMs: () => number;
  }) {
    this.#judge = parts.judge;
    this.#onError = parts.onError;
    this.#monotonicMs = parts.monotonicMs;
  }

  /** There is news of these aliases, which came at `arrivedAtMs` of the monotonic clock. */
  markDirty(aliases: Iterable<string>, arrivedAtMs = this.#monotonicMs()): void {
    if (this.#isClosed) return;
    for (const alias of aliases) this.#dirty.set(alias, arrivedAtMs);
    this.#schedule();
  }

  /** Finishes the pass under way and stops. Safe twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const timer of this.#retries) clearTimeout(timer);
    await this.#running;
  }

  #schedule(): void {
    if (this.#isClosed || this.#dirty.size === 0 || this.#running || this.#timer) return;
    const restMs = Math.min(MAX_REST_MS, Math.max(REST_MS, REST_FACTOR * this.#lastPassMs));
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#running = this.#pass().finally(() => {
          this.#running = undefined;
          this.#schedule();
        });
      },
      timerMs(this.#endedAtMs + restMs - this.#monotonicMs()),
    );
  }

  async #pass(): Promise<void> {
    const begunMs = this.#monotonicMs();
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const [alias, arrivedAtMs] of dirty) {
      try {
        await this.#judge(alias, arrivedAtMs);
      } catch (error) {
        this.#onError(error, alias);
        this.#retrySoon(alias);
      }
    }
    this.#endedAtMs = this.#monotonicMs();
    this.#lastPassMs = this.#endedAtMs - begunMs;
  }

  /** The evidence is still there, and nobody may report any more. */
  #retrySoon(alias: string): void {
    if (this.#isClosed) return;
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      this.markDirty([alias]);
    }, RETRY_DELAY_MS);
    this.#retries.add(timer);
  }
}
