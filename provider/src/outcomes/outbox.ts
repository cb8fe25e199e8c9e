/**
 * Outcomes and assignments on their way to the server, counted there exactly once (DESIGN 5). No I/O: the caller asks for
 * the next frame and says what became of it.
 *
 * A batch, once formed, is immutable until the server acknowledged it, so that a resend after a reconnect or a server's
 * crash is the same batch. Batches are formed only when they can be sent: everything else waits unformed, can be dropped
 * without a gap in the sequence, and is what the bounds hold.
 */
import { MAX_BATCH_ASSIGNMENTS, MAX_BATCH_ITEMS, MAX_RUNTIME_FRAME_BYTES, type Outcome } from "@flagback/schemas";
import {
  ANNOUNCE_WITHIN_MS,
  MAX_BATCHES_IN_FLIGHT,
  MAX_OPEN_ASSIGNMENTS,
  MAX_OUTCOME_BYTES,
  MAX_SLOW_DOWN_MS,
  MIN_FRAME_BYTES,
  OUTCOME_WITHIN_MS,
} from "../limits.ts";

/** One run handed to a version. */
export interface Assignment {
  readonly alias: string;
  readonly version: string;
  /** Revision of the alias document that the version was served from; 0 for the caller's default. */
  readonly revision: number;
}

export interface OutboxLimits {
  readonly maxOutcomes: number;
  readonly maxOutcomeBytes: number;
}

export interface OutboxStatistics {
  /** Outcomes that wait or are on their way. */
  readonly pending: number;
  readonly pendingBytes: number;
  /** Outcomes lost, by reason. */
  readonly dropped: Readonly<Record<DropReason, number>>;
  /** Outcomes that the server did not count. */
  readonly rejected: number;
  readonly acknowledged: number;
  /** Outcomes that went without what the schema or a size limit refuses. */
  readonly repaired: number;
}

export type DropReason = "full" | "too_large" | "batch_refused" | "invalid" | "unattributed";

/**
 * The handle that ties a run's outcome to the batch that announced the run: not announced yet, announced by batch `seq`, or
 * lost. Only the outbox changes it.
 */
export interface Announcement extends Assignment {
  seq: number | null;
  lost: boolean;
}

interface Item {
  readonly announcement: Announcement;
  readonly outcome: Outcome;
  readonly bytes: number;
}

interface Batch {
  readonly seq: number;
  readonly frame: string;
  readonly items: readonly Item[];
  sent: boolean;
  /** How many sockets the server closed over it. */
  strikes: number;
}

/** A batch that closed this many sockets is dropped. */
const MAX_STRIKES = 2;
/** Room in a frame for its type, sequence number and brackets. */
const FRAME_OVERHEAD_BYTES = 256;
/** Room that one assignment group takes at most: its name, version id and numbers, with JSON around them. */
const ASSIGNMENT_BYTES = 512;

export class Outbox {
  readonly #limits: OutboxLimits;
  /** Announced or about to be, and without a durable outcome: announced again when the server forgot them. */
  readonly #open = new Set<Announcement>();
  #unannounced: Announcement[] = [];
  #waiting: Item[] = [];
  #waitingBytes = 0;
  #batches: Batch[] = [];
  #nextSeq = 1;
  #ackedThrough = 0;
  #online = false;
  #maxItems = MAX_BATCH_ITEMS;
  #maxFrameBytes = MAX_RUNTIME_FRAME_BYTES;
  /** One outcome, so that it always fits into a frame beside one assignment group. */
  #maxItemBytes = MAX_OUTCOME_BYTES;
  #announceByMs: number | null = null;
  #sendByMs: number | null = null;
  #notBeforeMs = 0;
  #slowDownMs = 0;
  #rejected = 0;
  #acknowledged = 0;
  #repaired = 0;
  readonly #dropped: Record<DropReason, number> = {
    full: 0,
    too_large: 0,
    batch_refused: 0,
    invalid: 0,
    unattributed: 0,
  };

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  /** A run was handed to a version. Announced within `ANNOUNCE_WITHIN_MS`, always before or with its outcome. */
  assign({ alias, version, revision }: Assignment, nowMs: number): Announcement {
    const announcement: Announcement = { alias, version, revision, seq: null, lost: false };
    this.#unannounced.push(announcement);
    if (this.#open.size < MAX_OPEN_ASSIGNMENTS) this.#open.add(announcement);
    this.#announceByMs ??= nowMs + ANNOUNCE_WITHIN_MS;
    return announcement;
  }

  /**
   * How the run went. Takes what `assign` returned; at most one outcome for each is meant to be reported. One that is too
   * large goes without its metrics and attributes, so that its assignment is settled.
   */
  report(announcement: Announcement, outcome: Outcome, nowMs: number): "whole" | "slimmed" | "dropped" {
    if (announcement.lost) {
      this.drop("batch_refused");
      return "dropped";
    }
    const item = this.#fitted({ announcement, outcome, bytes: bytesOf(outcome) });
    if (!item) return "dropped";
    this.#waiting.push(item);
    this.#waitingBytes += item.bytes;
    this.#sendByMs ??= nowMs + OUTCOME_WITHIN_MS;
    this.#dropOverflow();
    return item.outcome === outcome ? "whole" : "slimmed";
  }

  /** Counts an outcome that lost a field on its way here. */
  countRepaired(): void {
    this.#repaired += 1;
  }

  /** Counts an outcome that never got this far. */
  drop(reason: DropReason): void {
    this.#dropped[reason] += 1;
  }

  /**
   * The server's durable count on a fresh connection: batches up to `through` are done, the rest is sent again in order.
   * Fewer than it once acknowledged means a restored database: we go on from its count and announce open runs again.
   */
  resume(through: number, limits: { readonly maxFrameBytes: number; readonly maxBatchItems: number }): void {
    this.#online = true;
    this.#maxItems = Math.min(MAX_BATCH_ITEMS, limits.maxBatchItems);
    this.#maxFrameBytes = Math.min(MAX_RUNTIME_FRAME_BYTES, Math.max(MIN_FRAME_BYTES, limits.maxFrameBytes));
    this.#maxItemBytes = Math.min(MAX_OUTCOME_BYTES, this.#maxFrameBytes - FRAME_OVERHEAD_BYTES - ASSIGNMENT_BYTES);
    this.#slowDownMs = 0;
    this.#notBeforeMs = 0;
    const forgotten = through < this.#ackedThrough;
    this.#settle(through);
    const refused = this.#batches[0]?.seq === through + 1 && this.#batches[0].strikes >= MAX_STRIKES;
    const gap = through + 1 !== (this.#batches[0]?.seq ?? this.#nextSeq);
    if (forgotten || refused || gap) this.#renumber(through, refused);
    this.#ackedThrough = through;
    for (const batch of this.#batches) batch.sent = false;
    this.#wait(this.#waiting.flatMap((item) => this.#fitted(item) ?? []));
  }

  /** The connection is gone. `blamed` when the server closed it over what we sent: the first open batch takes the blame. */
  hold(blamed: boolean): void {
    const first = this.#batches[0];
    if (blamed && this.#online && first?.sent) first.strikes += 1;
    this.#online = false;
  }

  /** Batches up to `through` are durable. */
  acknowledge(through: number, rejected: number, slowDownMs: number, nowMs: number): void {
    // A count past what was sent is no acknowledgement of it.
    const sentThrough = this.#batches.findLast((batch) => batch.sent)?.seq ?? this.#ackedThrough;
    this.#settle(Math.min(through, sentThrough));
    this.#ackedThrough = Math.max(this.#ackedThrough, Math.min(through, sentThrough));
    this.#rejected += rejected;
    this.#slowDownMs = Math.min(MAX_SLOW_DOWN_MS, slowDownMs);
    this.#notBeforeMs = Math.max(this.#notBeforeMs, nowMs + this.#slowDownMs);
    if (this.#slowDownMs === 0) this.#notBeforeMs = 0;
  }

  /** The next frame to send now, or null. `flush` sends without waiting for company or for the server's pause. */
  next(nowMs: number, flush = false): string | null {
    if (!this.#online) return null;
    const resent = this.#batches.find((batch) => !batch.sent);
    if (resent) return this.#mayOverlap(resent) ? this.#send(resent, nowMs) : null;
    const dueMs = this.#dueMs();
    if (dueMs === null || (!flush && nowMs < dueMs)) return null;
    if (this.#batches.length >= MAX_BATCHES_IN_FLIGHT || (this.#batches[0]?.strikes ?? 0) > 0) return null;
    const batch = this.#form();
    return batch ? this.#send(batch, nowMs) : null;
  }

  /** When `next` has something new, on the monotonic clock; null while it has not, or only an acknowledgement helps. */
  nextDueMs(): number | null {
    if (!this.#online || this.#batches.length >= MAX_BATCHES_IN_FLIGHT) return null;
    if (this.#batches.some((batch) => !batch.sent) || (this.#batches[0]?.strikes ?? 0) > 0) return null;
    return this.#dueMs();
  }

  /** Whether everything was acknowledged. */
  get isEmpty(): boolean {
    return this.#batches.length === 0 && this.#waiting.length === 0 && this.#unannounced.length === 0;
  }

  get statistics(): OutboxStatistics {
    const formed = this.#batches.flatMap((batch) => batch.items);
    return {
      pending: this.#waiting.length + formed.length,
      pendingBytes: this.#waitingBytes + formed.reduce((sum, item) => sum + item.bytes, 0),
      dropped: { ...this.#dropped },
      rejected: this.#rejected,
      acknowledged: this.#acknowledged,
      repaired: this.#repaired,
    };
  }

  #dueMs(): number | null {
    if (this.#waiting.length >= this.#maxItems && this.#slowDownMs === 0) return 0;
    const dues = [this.#announceByMs, this.#sendByMs].filter((due) => due !== null);
    return dues.length === 0 ? null : Math.max(this.#notBeforeMs, Math.min(...dues));
  }

  /** While the first batch has closed a socket, it goes alone: then the blame is certain. */
  #mayOverlap(batch: Batch): boolean {
    const first = this.#batches[0];
    return batch === first || first === undefined || first.strikes === 0;
  }

  #send(batch: Batch, nowMs: number): string {
    batch.sent = true;
    this.#notBeforeMs = nowMs + this.#slowDownMs;
    return batch.frame;
  }

  /** Announces what it can, then takes the outcomes whose assignment is announced, oldest first. */
  #form(): Batch | null {
    const seq = this.#nextSeq;
    const assigned = this.#announce(seq);
    let bytes = FRAME_OVERHEAD_BYTES + assigned.length * ASSIGNMENT_BYTES;
    const items: Item[] = [];
    const left: Item[] = [];
    for (const item of this.#waiting) {
      const fits = items.length < this.#maxItems && bytes + item.bytes <= this.#maxFrameBytes;
      if (!fits || item.announcement.seq === null) {
        left.push(item);
        continue;
      }
      items.push(item);
      bytes += item.bytes;
    }
    this.#wait(left);
    this.#sendByMs = left.length > 0 ? 0 : null;
    this.#announceByMs = this.#unannounced.length > 0 ? 0 : null;
    if (assigned.length === 0 && items.length === 0) return null;
    const frame = JSON.stringify({
      type: "outcomes",
      seq,
      assigned,
      items: items.map((item) => ({ ...item.outcome, assignedSeq: item.announcement.seq })),
    });
    const batch: Batch = { seq, frame, items, sent: false, strikes: 0 };
    this.#batches.push(batch);
    this.#nextSeq = seq + 1;
    return batch;
  }

  /** Groups the assignments that wait and marks them as announced by `seq`, as many groups as one batch may hold. */
  #announce(seq: number): (Assignment & { n: number })[] {
    const maxGroups = Math.min(
      MAX_BATCH_ASSIGNMENTS,
      Math.floor((this.#maxFrameBytes - FRAME_OVERHEAD_BYTES - this.#maxItemBytes) / ASSIGNMENT_BYTES),
    );
    const groups = new Map<string, Assignment & { n: number }>();
    const left: Announcement[] = [];
    for (const announcement of this.#unannounced) {
      const { alias, version, revision } = announcement;
      const key = `${alias} ${version} ${revision}`;
      const group = groups.get(key);
      if (!group && groups.size >= Math.max(1, maxGroups)) {
        left.push(announcement);
        continue;
      }
      if (group) group.n += 1;
      else groups.set(key, { alias, version, revision, n: 1 });
      announcement.seq = seq;
    }
    this.#unannounced = left;
    return [...groups.values()];
  }

  /** Batches up to `through` are done with. */
  #settle(through: number): void {
    const done = this.#batches.filter((batch) => batch.seq <= through);
    this.#batches = this.#batches.filter((batch) => batch.seq > through);
    for (const { items } of done) {
      this.#acknowledged += items.length;
      for (const item of items) this.#open.delete(item.announcement);
    }
  }

  /**
   * Takes every open batch apart and goes on from the server's count. Safe only right after hello, when it is certain that
   * none of them was counted. A refused first batch is lost, with the assignments that it announced.
   */
  #renumber(through: number, refuseFirst: boolean): void {
    const [first, ...rest] = this.#batches;
    const kept = refuseFirst ? rest : this.#batches;
    if (refuseFirst && first) {
      this.#dropped.batch_refused += first.items.length;
      for (const item of first.items) this.#open.delete(item.announcement);
      for (const announcement of this.#open) if (announcement.seq === first.seq) announcement.lost = true;
    }
    const items = [...kept.flatMap((batch) => batch.items), ...this.#waiting];
    this.#batches = [];
    this.#nextSeq = through + 1;
    for (const announcement of new Set([...this.#open, ...items.map((item) => item.announcement)])) {
      if (announcement.lost) this.#open.delete(announcement);
      else if (announcement.seq !== null && announcement.seq > through) {
        announcement.seq = null;
        this.#unannounced.push(announcement);
      }
    }
    this.#wait(items.filter((item) => !item.announcement.lost));
    this.#dropped.batch_refused += items.length - this.#waiting.length;
    if (this.#waiting.length > 0) this.#sendByMs = 0;
    if (this.#unannounced.length > 0) this.#announceByMs = 0;
  }

  #wait(items: Item[]): void {
    this.#waiting = items;
    this.#waitingBytes = items.reduce((sum, item) => sum + item.bytes, 0);
  }

  /** The item as one frame can carry it: without its metrics and attributes where it must be. Else it is dropped. */
  #fitted(item: Item): Item | null {
    if (item.bytes <= this.#maxItemBytes) return item;
    const { metrics: _metrics, attributes: _attributes, ...outcome } = item.outcome;
    const slim = { ...item, outcome, bytes: bytesOf(outcome) };
    if (slim.bytes <= this.#maxItemBytes) {
      this.#repaired += 1;
      return slim;
    }
    this.#forget(item.announcement);
    this.drop("too_large");
    return null;
  }

  #dropOverflow(): void {
    const { maxOutcomes, maxOutcomeBytes } = this.#limits;
    while (this.#waiting.length > maxOutcomes || this.#waitingBytes > maxOutcomeBytes) {
      // The oldest whose run was not announced: the server waits for the others, and counts a missing one as bad.
      const index = this.#waiting.findIndex((item) => item.announcement.seq === null);
      const [oldest] = this.#waiting.splice(Math.max(0, index), 1);
      if (!oldest) return;
      this.#waitingBytes -= oldest.bytes;
      this.#forget(oldest.announcement);
      this.drop("full");
    }
  }

  /** The run's outcome is lost. An assignment that nobody heard of yet is lost with it, so that nobody waits for it. */
  #forget(announcement: Announcement): void {
    this.#open.delete(announcement);
    if (announcement.seq !== null) return;
    announcement.lost = true;
    const index = this.#unannounced.indexOf(announcement);
    if (index >= 0) this.#unannounced.splice(index, 1);
  }
}

/** As JSON, with room for the sequence number that the batch adds. */
function bytesOf(outcome: Outcome): number {
  return Buffer.byteLength(JSON.stringify(outcome)) + 40;
}
