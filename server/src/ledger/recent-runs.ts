/**
 * The last runs that were counted: one outcome counts for each (runId, alias), within a window that survives restarts.
 *
 * A hash table with a ring beside it, of a fixed size, of hashes: nearly every question is about a run that is new, and is
 * answered by one look at one place in memory; and no text outlives its commit, which the collector would have to move. A new
 * run is taken for one of the window with probability 200 000 / 2^64, or once in 9e13 runs, and nobody who does not know the
 * key can choose one that is.
 */
import { HalfSipHash } from "./half-sip-hash.ts";

/** Runs remembered. An outcome that comes again after so many others is counted again; batches of the stream never are. */
export const RUN_WINDOW = 200_000;

/** What a synthetic check is called among the runs: a run of the same id is another one. */
export function checkRunId(runId: string): string {
  return `synthetic ${runId}`;
}

export class RecentRuns {
  readonly #hash = new HalfSipHash();
  readonly #window: number;
  /** Places of the hash table, a power of two, less 1: at most half of them are taken. */
  readonly #lastPlace: number;
  /**
   * For each place two numbers, side by side because a look into cold memory is what costs: the entry that stands there,
   * plus 1, or 0 where none does; and the low half of the entry's hash.
   */
  readonly #table: Int32Array;
  /** The entries by age, in a ring; `#next` is where the next one goes, and once the ring is full the oldest is. */
  readonly #lows: Int32Array;
  readonly #highs: Int32Array;
  readonly #reporters: string[] = [];
  #next = 0;

  constructor(window = RUN_WINDOW) {
    const places = 2 ** Math.ceil(Math.log2(2 * window));
    this.#window = window;
    this.#lastPlace = places - 1;
    this.#table = new Int32Array(2 * places);
    this.#lows = new Int32Array(window);
    this.#highs = new Int32Array(window);
  }

  has(alias: string, runId: string): boolean {
    return this.#find(this.#hash.of(alias, runId), this.#hash.high) >= 0;
  }

  /** The instance or token that reported the run; empty where that was before this start. */
  reporterOf(alias: string, runId: string): string | undefined {
    const entry = this.#find(this.#hash.of(alias, runId), this.#hash.high);
    return entry < 0 ? undefined : this.#reporters[entry];
  }

  /** Answers whether the run is new; if it is, it is remembered. */
  add(alias: string, runId: string, reporter: string): boolean {
    const low = this.#hash.of(alias, runId);
    const { high } = this.#hash;
    if (this.#find(low, high) >= 0) return false;
    const entry = this.#next;
    if (this.#reporters.length === this.#window) this.#remove(entry);
    this.#lows[entry] = low;
    this.#highs[entry] = high;
    this.#reporters[entry] = reporter;
    this.#put(entry, low);
    this.#next = (entry + 1) % this.#window;
    return true;
  }

  /** The run's entry, or -1. Entries stand at the first free place from where their hash points to. */
  #find(low: number, high: number): number {
    const table = this.#table;
    for (let place = low & this.#lastPlace; table[2 * place] !== 0; place = (place + 1) & this.#lastPlace) {
      if (table[2 * place + 1] !== low) continue;
      const entry = (table[2 * place] as number) - 1;
      if (this.#highs[entry] === high) return entry;
    }
    return -1;
  }

  #put(entry: number, low: number): void {
    let place = low & this.#lastPlace;
    while (this.#table[2 * place] !== 0) place = (place + 1) & this.#lastPlace;
    this.#table[2 * place] = entry + 1;
    this.#table[2 * place + 1] = low;
  }

  /** Closes the gap that it leaves, so that whoever had to go further is still found (Knuth, TAOCP 3, 6.4, algorithm R). */
  #remove(entry: number): void {
    const table = this.#table;
    const last = this.#lastPlace;
    let gap = (this.#lows[entry] as number) & last;
    while (table[2 * gap] !== entry + 1) gap = (gap + 1) & last;
    for (let place = (gap + 1) & last; table[2 * place] !== 0; place = (place + 1) & last) {
      const home = (table[2 * place + 1] as number) & last;
      // It may move only where its own search comes by.
      if (((place - home) & last) < ((place - gap) & last)) continue;
      table[2 * gap] = table[2 * place] as number;
      table[2 * gap + 1] = table[2 * place + 1] as number;
      gap = place;
    }
    table[2 * gap] = 0;
  }
}
