/**
 * Outcomes that wait to be put into a batch, oldest first and within their bounds.
 */
import type { Outcome } from "@flagback/schemas";
import type { Announcement } from "./assignments.ts";

export interface OutboxLimits {
  readonly maxOutcomes: number;
  readonly maxOutcomeBytes: number;
}

export interface Item {
  readonly announcement: Announcement;
  readonly outcome: Outcome;
  /** Of what the batch adds, at most. */
  readonly addedBytes: number;
  /** As JSON in the batch. */
  readonly bytes: number;
}

/** Room for the sequence number that the batch adds. */
const SEQ_BYTES = 40;
/** Room for the name of the field of passed limits, and for one of them: the longest number of JavaScript has 24 digits. */
const OVERDUE_BYTES = 25;

/** @param limitsPassed how many latency limits the batch will name beside the outcome */
export function itemOf(announcement: Announcement, outcome: Outcome, limitsPassed: number): Item {
  const addedBytes = SEQ_BYTES + (limitsPassed > 0 ? OVERDUE_BYTES * (limitsPassed + 1) : 0);
  return { announcement, outcome, addedBytes, bytes: bytesOf(outcome) + addedBytes };
}

/** The item as `maxBytes` can carry it: without its metrics and attributes where it must be. Null where even that is too large. */
export function fitted(item: Item, maxBytes: number): Item | null {
  if (item.bytes <= maxBytes) return item;
  const { metrics: _metrics, attributes: _attributes, ...outcome } = item.outcome;
  const slim = { ...item, outcome, bytes: bytesOf(outcome) + item.addedBytes };
  return slim.bytes <= maxBytes ? slim : null;
}

export class WaitingOutcomes {
  readonly #limits: OutboxLimits;
  #items: Item[] = [];
  #bytes = 0;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  get items(): readonly Item[] {
    return this.#items;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(item: Item): void {
    this.#items.push(item);
    this.#bytes += item.bytes;
  }

  replace(items: Item[]): void {
    this.#items = items;
    this.#bytes = items.reduce((sum, item) => sum + item.bytes, 0);
  }

  /** Takes out what is beyond the bounds. */
  overflow(): Item[] {
    const { maxOutcomes, maxOutcomeBytes } = this.#limits;
    const dropped: Item[] = [];
    while (this.#items.length > maxOutcomes || this.#bytes > maxOutcomeBytes) {
      // The oldest whose run was not announced: the server waits for the others, and counts a missing one as bad.
      const index = this.#items.findIndex((item) => item.announcement.seq === null);
      const [oldest] = this.#items.splice(Math.max(0, index), 1);
      if (!oldest) break;
      this.#bytes -= oldest.bytes;
      dropped.push(oldest);
    }
    return dropped;
  }
}

function bytesOf(outcome: Outcome): number {
  return Buffer.byteLength(JSON.stringify(outcome));
}
