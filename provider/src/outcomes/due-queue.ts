/**
 * What is due first, out of many: a binary heap whose entries know their place, so that one that is no longer wanted leaves
 * at once. Both ways cost the logarithm of its length.
 */

export interface Queued {
  /** On the monotonic clock. Not to be changed while it is in the queue. */
  dueMs: number;
  /** Where the queue has it; -1 where it has it not. Only the queue changes it. */
  place: number;
}

export class DueQueue<Entry extends Queued> {
  readonly #heap: Entry[] = [];

  get first(): Entry | undefined {
    return this.#heap[0];
  }

  add(entry: Entry): void {
    this.#rise(entry, this.#heap.length);
  }

  /** Does nothing where the entry is in no queue. */
  remove(entry: Entry): void {
    const { place } = entry;
    if (place < 0) return;
    entry.place = -1;
    const last = this.#heap.pop();
    if (last === undefined || last === entry) return;
    const parent = this.#heap[parentOf(place)];
    if (place > 0 && parent && last.dueMs < parent.dueMs) this.#rise(last, place);
    else this.#sink(last, place);
  }

  /** Puts the entry at `place`, or above it. */
  #rise(entry: Entry, place: number): void {
    let at = place;
    while (at > 0) {
      const parent = this.#heap[parentOf(at)];
      if (!parent || parent.dueMs <= entry.dueMs) break;
      this.#put(parent, at);
      at = parentOf(at);
    }
    this.#put(entry, at);
  }

  /** Puts the entry at `place`, or below it. */
  #sink(entry: Entry, place: number): void {
    let at = place;
    for (;;) {
      const left = this.#heap[2 * at + 1];
      const right = this.#heap[2 * at + 2];
      const child = left && right && right.dueMs < left.dueMs ? right : left;
      if (!child || entry.dueMs <= child.dueMs) break;
      const freed = child.place;
      this.#put(child, at);
      at = freed;
    }
    this.#put(entry, at);
  }

  #put(entry: Entry, place: number): void {
    this.#heap[place] = entry;
    entry.place = place;
  }
}

function parentOf(place: number): number {
  return (place - 1) >> 1;
}
