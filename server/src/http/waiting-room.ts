/**
 * A bounded number of places for those who wait, such as sockets that have sent no whole request. Where all places are taken, one that has waited past its patience gives way; the quick are never pushed out by the
 * many, and the many are bounded.
 */

interface Guest {
  readonly sender: string;
  readonly sinceMs: number;
}

export interface WaitingLimits {
  readonly places: number;
  readonly placesPerSender: number;
  readonly patienceMs: number;
}

export type Seated = { readonly isSeated: true; readonly pushedOut?: string } | { readonly isSeated: false };

export class WaitingRoom {
  readonly #limits: WaitingLimits;
  /** By arrival, oldest first; also within each sender. */
  readonly #guests = new Map<string, Guest>();
  readonly #bySender = new Map<string, Set<string>>();

  constructor(limits: WaitingLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#guests.size;
  }

  /** `sender` is `undefined` for one that speaks for many, such as a trusted proxy: it is held to the whole room only. */
  enter(id: string, sender: string | undefined, nowMs: number): Seated {
    this.leave(id);
    const { places, placesPerSender } = this.#limits;
    if (places < 1 || (sender !== undefined && placesPerSender < 1)) return { isSeated: false };
    const group = sender ?? "";
    const pushedOut = this.#mustYield(group, sender !== undefined);
    if (pushedOut !== undefined) {
      const guest = this.#guests.get(pushedOut);
      if (guest && nowMs - guest.sinceMs < this.#limits.patienceMs) return { isSeated: false };
      this.leave(pushedOut);
    }
    this.#guests.set(id, { sender: group, sinceMs: nowMs });
    const ids = this.#bySender.get(group) ?? new Set();
    this.#bySender.set(group, ids.add(id));
    return { isSeated: true, ...(pushedOut === undefined ? {} : { pushedOut }) };
  }

  leave(id: string): void {
    const guest = this.#guests.get(id);
    if (!guest) return;
    this.#guests.delete(id);
    const ids = this.#bySender.get(guest.sender);
    ids?.delete(id);
    if (ids?.size === 0) this.#bySender.delete(guest.sender);
  }

  /** Who gives way so that one more fits: the oldest of a sender that has too many, else of all. */
  #mustYield(sender: string, isOneSender: boolean): string | undefined {
    const ids = this.#bySender.get(sender);
    if (isOneSender && ids && ids.size >= this.#limits.placesPerSender) return first(ids);
    return this.#guests.size >= this.#limits.places ? first(this.#guests.keys()) : undefined;
  }
}

function first(values: Iterable<string>): string | undefined {
  for (const value of values) return value;
  return undefined;
}
