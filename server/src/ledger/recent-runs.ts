/**
 * The last runs that were counted: one outcome counts for each (runId, alias), within a window that survives restarts.
 *
 * A hash table with a ring beside it, of a fixed size: nearly every question is about a run that is new, and is answered by
 * one look at one place in memory. A `Map` of as many strings takes ten, and moves everything whenever it grows.
 */
import { HalfSipHash } from "./half-sip-hash.ts";

/** Runs remembered. An outcome that comes again after so many others is counted again; batches of the stream never are. */
export const RUN_WINDOW = 200_000;

export class RecentRuns {
  readonly #hash = new HalfSipHash();
  readonly #window: number;
  /** Places of the hash table, a power of two, less 1: at most half of them are taken. */
  readonly #lastPlace: number;
  /** For each place the entry that stands there, plus 1; 0 where none does. */
  readonly #entries: Int32Array;
  /** For each place that is taken, the hash of its entry. */
  readonly #hashes: Int32Array;
  /** The entries by age, in a ring; `#next` is where the next one goes, and once the ring is full the oldest is. */
  readonly #aliases: string[] = [];
  readonly #runIds: string[] = [];
  readonly #reporters: string[] = [];
  readonly #hashOf: Int32Array;
  #next = 0;

  constructor(window = RUN_WINDOW) {
    const places = 2 ** Math.ceil(Math.log2(2 * window));
    this.#window = window;
    this.#lastPlace = places - 1;
    this.#entries = new Int32Array(places);
    this.#hashes = new Int32Array(places);
    this.#hashOf = new Int32Array(window);
  }

  has(alias: string, runId: string): boolean {
    return this.#find(alias, runId, this.#hash.of(alias, runId)) >= 0;
  }

  /** The instance or token that reported the run; empty where that was before this start. */
  reporterOf(alias: string, runId: string): string | undefined {
    const place = this.#find(alias, runId, this.#hash.of(alias, runId));
    return place < 0 ? undefined : this.#reporters[(this.#entries[place] as number) - 1];
  }

  /** Answers whether the run is new; if it is, it is remembered. */
  add(alias: string, runId: string, reporter: string): boolean {
    const hash = this.#hash.of(alias, runId);
    if (this.#find(alias, runId, hash) >= 0) return false;
    const entry = this.#next;
    if (this.#runIds.length === this.#window) this.#remove(entry);
    this.#aliases[entry] = alias;
    this.#runIds[entry] = runId;
    this.#reporters[entry] = reporter;
    this.#hashOf[entry] = hash;
    this.#put(entry, hash);
    this.#next = (entry + 1) % this.#window;
    return true;
  }

  /** The run's place, or -1. Entries stand at the first free place from where their hash points to. */
  #find(alias: string, runId: string, hash: number): number {
    for (let place = hash & this.#lastPlace; this.#entries[place] !== 0; place = (place + 1) & this.#lastPlace) {
      if (this.#hashes[place] !== hash) continue;
      const entry = (this.#entries[place] as number) - 1;
      if (this.#runIds[entry] === runId && this.#aliases[entry] === alias) return place;
    }
    return -1;
  }

  #put(entry: number, hash: number): void {
    let place = hash & this.#lastPlace;
    while (this.#entries[place] !== 0) place = (place + 1) & this.#lastPlace;
    this.#entries[place] = entry + 1;
    this.#hashes[place] = hash;
  }

  /** Closes the gap that it leaves, so that whoever had to go further is still found (Knuth, TAOCP 3, 6.4, algorithm R). */
  #remove(entry: number): void {
    let gap = (this.#hashOf[entry] as number) & this.#lastPlace;
    while (this.#entries[gap] !== entry + 1) gap = (gap + 1) & this.#lastPlace;
    for (let place = (gap + 1) & this.#lastPlace; this.#entries[place] !== 0; place = (place + 1) & this.#lastPlace) {
      const home = (this.#hashes[place] as number) & this.#lastPlace;
      // It may move only where its own search comes by.
      if (((place - home) & this.#lastPlace) < ((place - gap) & this.#lastPlace)) continue;
      this.#entries[gap] = this.#entries[place] as number;
      this.#hashes[gap] = this.#hashes[place] as number;
      gap = place;
    }
    this.#entries[gap] = 0;
  }
}
