/**
 * The recent history of what runtimes see: where the head is, and which documents a runtime has missed since its cursor.
 */
import type { Cursor } from "@flagback/schemas";
import type { HistoryEntry } from "../store/store.ts";
import { FIRST_MARK } from "./canonical.ts";

/** Revisions that a runtime can resume across; an older cursor gets a snapshot. */
export const RING_SIZE = 1_000;

export type Touched = HistoryEntry["touched"][number];

export class History {
  readonly epoch: string;
  readonly #ring: HistoryEntry[];

  constructor(epoch: string, entries: readonly HistoryEntry[]) {
    this.epoch = epoch;
    this.#ring = [...entries];
  }

  get head(): { readonly revision: number; readonly mark: string } {
    return this.#ring.at(-1) ?? { revision: 0, mark: FIRST_MARK };
  }

  push(entry: HistoryEntry): void {
    this.#ring.push(entry);
    if (this.#ring.length > RING_SIZE) this.#ring.shift();
  }

  /** Whether a delta can lead from the cursor to the head. */
  canResume(cursor: Cursor): boolean {
    if (cursor.epoch !== this.epoch) return false;
    const { revision, mark } = this.head;
    if (cursor.revision === revision) return cursor.mark === mark;
    const held = this.#ring.find((entry) => entry.revision === cursor.revision);
    return (
      held?.mark === cursor.mark ||
      (cursor.revision === 0 && cursor.mark === FIRST_MARK && this.#ring[0]?.revision === 1)
    );
  }

  /**
   * Documents touched after `from`, each kind and key once, because a key can change its kind. `undefined` where the ring
   * no longer reaches back so far.
   */
  touchedSince(from: number): Touched[] | undefined {
    const first = this.#ring[0];
    if (from < (first?.revision ?? 1) - 1) return undefined;
    const touched = new Map<string, Touched>();
    for (let index = this.#ring.length - 1; index >= 0; index--) {
      const entry = this.#ring[index] as HistoryEntry;
      if (entry.revision <= from) break;
      for (const document of entry.touched) touched.set(`${document.kind} ${document.key}`, document);
    }
    return [...touched.values()];
  }
}
