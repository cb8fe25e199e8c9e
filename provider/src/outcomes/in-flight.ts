/**
 * Batches that were formed and are not durable yet, in the order of their sequence. A batch is immutable until the server
 * acknowledged it, so that a resend after a reconnect or a server's crash is the same batch.
 */
import { MAX_BATCHES_IN_FLIGHT } from "../limits.ts";
import type { Item } from "./waiting-outcomes.ts";

export interface Batch {
  readonly seq: number;
  readonly frame: string;
  readonly items: readonly Item[];
  sent: boolean;
  /** How many sockets the server closed over it. */
  strikes: number;
}

/** What a fresh connection makes of the open batches. */
export interface Resumed {
  /** Items that are durable. */
  readonly durable: readonly Item[];
  /** Null where the open batches are sent again as they are. Else none of them was counted, and they are no more. */
  readonly takenApart: {
    /** The first of them, where it closed too many sockets to be sent again. */
    readonly refused: Batch | null;
    /** Items of the others. */
    readonly items: readonly Item[];
  } | null;
}

/** A batch that closed this many sockets is dropped. */
const MAX_STRIKES = 2;

export class InFlight {
  #batches: Batch[] = [];
  #nextSeq = 1;
  #ackedThrough = 0;

  get nextSeq(): number {
    return this.#nextSeq;
  }

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  get items(): readonly Item[] {
    return this.#batches.flatMap((batch) => batch.items);
  }

  /** Whether a new batch may follow: while the first has closed a socket, it goes alone, so that the blame is certain. */
  get hasRoom(): boolean {
    return this.#batches.length < MAX_BATCHES_IN_FLIGHT && !this.hasUnsent && !this.#isFirstBlamed;
  }

  /** Whether this connection has batches to send again. */
  get hasUnsent(): boolean {
    return this.#batches.some((batch) => !batch.sent);
  }

  /** The next batch to send again, where it may go. */
  nextUnsent(): Batch | null {
    const unsent = this.#batches.find((batch) => !batch.sent);
    return unsent && (unsent === this.#batches[0] || !this.#isFirstBlamed) ? unsent : null;
  }

  add(frame: string, items: readonly Item[]): Batch {
    const batch: Batch = { seq: this.#nextSeq, frame, items, sent: false, strikes: 0 };
    this.#batches.push(batch);
    this.#nextSeq += 1;
    return batch;
  }

  /** The server closed a connection over what we sent: the first open batch takes the blame. */
  blame(): void {
    const first = this.#batches[0];
    if (first?.sent) first.strikes += 1;
  }

  /** Batches up to `through` are durable; a count past what was sent is no acknowledgement of it. Hands back their items. */
  acknowledge(through: number): readonly Item[] {
    const sentThrough = this.#batches.findLast((batch) => batch.sent)?.seq ?? this.#ackedThrough;
    const ackedThrough = Math.min(through, sentThrough);
    this.#ackedThrough = Math.max(this.#ackedThrough, ackedThrough);
    return this.#settle(ackedThrough);
  }

  /** A fresh connection, on which the server says what it durably counted. Only right after hello is that certain. */
  resume(through: number): Resumed {
    const isForgotten = through < this.#ackedThrough;
    const durable = this.#settle(through);
    this.#ackedThrough = through;
    const [first, ...rest] = this.#batches;
    const refused = first?.seq === through + 1 && first.strikes >= MAX_STRIKES ? first : null;
    const isGap = through + 1 !== (first?.seq ?? this.#nextSeq);
    if (!isForgotten && !refused && !isGap) {
      for (const batch of this.#batches) batch.sent = false;
      return { durable, takenApart: null };
    }
    const kept = refused ? rest : this.#batches;
    this.#batches = [];
    this.#nextSeq = through + 1;
    return { durable, takenApart: { refused, items: kept.flatMap((batch) => batch.items) } };
  }

  get #isFirstBlamed(): boolean {
    return (this.#batches[0]?.strikes ?? 0) > 0;
  }

  #settle(through: number): readonly Item[] {
    const durable = this.#batches.filter((batch) => batch.seq <= through);
    this.#batches = this.#batches.filter((batch) => batch.seq > through);
    return durable.flatMap((batch) => batch.items);
  }
}
