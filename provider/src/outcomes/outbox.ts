/**
 * Assignments, overdue runs and outcomes on their way to the server, counted there exactly once (DESIGN 5). No I/O: the
 * caller asks for the next frame and says what became of it.
 *
 * Batches are formed only when they can be sent, and are immutable from then on: everything else waits unformed, can be
 * dropped without a gap in the sequence, and is what the bounds hold.
 */
import { MAX_BATCH_ASSIGNMENTS, MAX_BATCH_ITEMS, MAX_RUNTIME_FRAME_BYTES, type Outcome } from "@flagback/schemas";
import { MAX_OUTCOME_BYTES, MAX_SLOW_DOWN_MS, MIN_FRAME_BYTES, OUTCOME_WITHIN_MS } from "../limits.ts";
import { type Announcement, type Assignment, Assignments } from "./assignments.ts";
import { type Batch, InFlight, type Resumed } from "./in-flight.ts";
import { OverdueRuns } from "./overdue-runs.ts";
import { fitted, type Item, itemOf, type OutboxLimits, WaitingOutcomes } from "./waiting-outcomes.ts";

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

/** Room in a frame for its type, sequence number and brackets. */
const FRAME_OVERHEAD_BYTES = 256;
/** Room that one group of assignments or overdue runs takes at most: name, version id and numbers, with JSON around them. */
const GROUP_BYTES = 512;

export class Outbox {
  readonly #assignments = new Assignments();
  readonly #overdue = new OverdueRuns();
  readonly #waiting: WaitingOutcomes;
  readonly #inFlight = new InFlight();
  #online = false;
  #maxItems = MAX_BATCH_ITEMS;
  #maxFrameBytes = MAX_RUNTIME_FRAME_BYTES;
  /** One outcome, so that it always fits into a frame beside one group. */
  #maxItemBytes = MAX_OUTCOME_BYTES;
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
    this.#waiting = new WaitingOutcomes(limits);
  }

  /** A run was handed to a version. Announced within `ANNOUNCE_WITHIN_MS`, always before or with its outcome. */
  assign(assignment: Assignment, nowMs: number): Announcement {
    return this.#assignments.add(assignment, nowMs);
  }

  /** From its start until its outcome, the run is reported as overdue for each limit that it passes. */
  watch(announcement: Announcement, startedMs: number, limitsMs: readonly number[]): void {
    this.#overdue.watch(announcement, startedMs, limitsMs);
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
    this.#overdue.end(announcement, nowMs, outcome.durationMs);
    const limitsPassed = this.#overdue.limitsPassedMs(announcement).length;
    const item = this.#fitted(itemOf(announcement, outcome, limitsPassed));
    if (!item) return "dropped";
    this.#waiting.add(item);
    this.#sendByMs ??= nowMs + OUTCOME_WITHIN_MS;
    for (const dropped of this.#waiting.overflow()) {
      this.#forget(dropped.announcement);
      this.drop("full");
    }
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
    this.#maxItemBytes = Math.min(MAX_OUTCOME_BYTES, this.#maxFrameBytes - FRAME_OVERHEAD_BYTES - GROUP_BYTES);
    this.#slowDownMs = 0;
    this.#notBeforeMs = 0;
    const { durable, takenApart } = this.#inFlight.resume(through);
    this.#settle(durable);
    if (takenApart) this.#startOver(through, takenApart);
    this.#waiting.replace(this.#waiting.items.flatMap((item) => this.#fitted(item) ?? []));
  }

  /** The connection is gone. `blamed` when the server closed it over what we sent: the first open batch takes the blame. */
  hold(blamed: boolean): void {
    if (blamed && this.#online) this.#inFlight.blame();
    this.#online = false;
  }

  /** Batches up to `through` are durable. */
  acknowledge(through: number, rejected: number, slowDownMs: number, nowMs: number): void {
    this.#settle(this.#inFlight.acknowledge(through));
    this.#rejected += rejected;
    this.#slowDownMs = Math.min(MAX_SLOW_DOWN_MS, slowDownMs);
    this.#notBeforeMs = Math.max(this.#notBeforeMs, nowMs + this.#slowDownMs);
    if (this.#slowDownMs === 0) this.#notBeforeMs = 0;
  }

  /** The next frame to send now, or null. `flush` sends without waiting for company or for the server's pause. */
  next(nowMs: number, flush = false): string | null {
    if (!this.#online) return null;
    if (this.#inFlight.hasUnsent) return this.#send(this.#inFlight.nextUnsent(), nowMs);
    this.#noticeOverdue(nowMs);
    const dueMs = this.#dueMs();
    if (dueMs === null || (!flush && nowMs < dueMs) || !this.#inFlight.hasRoom) return null;
    return this.#send(this.#form(), nowMs);
  }

  /** When `next` has something new, on the monotonic clock; null while it has not, or only an acknowledgement helps. */
  nextDueMs(): number | null {
    return this.#online && this.#inFlight.hasRoom ? this.#dueMs() : null;
  }

  /** Whether everything was acknowledged. */
  get isEmpty(): boolean {
    const isWaiting = this.#waiting.items.length > 0 || this.#assignments.hasWaiting || this.#overdue.hasWaiting;
    return !isWaiting && this.#inFlight.isEmpty;
  }

  get statistics(): OutboxStatistics {
    const formed = this.#inFlight.items;
    return {
      pending: this.#waiting.items.length + formed.length,
      pendingBytes: this.#waiting.bytes + formed.reduce((sum, item) => sum + item.bytes, 0),
      dropped: { ...this.#dropped },
      rejected: this.#rejected,
      acknowledged: this.#acknowledged,
      repaired: this.#repaired,
    };
  }

  #dueMs(): number | null {
    if (this.#waiting.items.length >= this.#maxItems && this.#slowDownMs === 0) return 0;
    const overdueMs = this.#overdue.nextDueMs();
    const overdueByMs = overdueMs === null ? null : overdueMs + OUTCOME_WITHIN_MS;
    const dues = [this.#assignments.dueMs, this.#sendByMs, overdueByMs].filter((due) => due !== null);
    return dues.length === 0 ? null : Math.max(this.#notBeforeMs, Math.min(...dues));
  }

  #noticeOverdue(nowMs: number): void {
    const passedMs = this.#overdue.notice(nowMs);
    if (passedMs === null) return;
    this.#sendByMs = Math.min(this.#sendByMs ?? Number.POSITIVE_INFINITY, passedMs + OUTCOME_WITHIN_MS);
  }

  #send(batch: Batch | null, nowMs: number): string | null {
    if (batch === null) return null;
    batch.sent = true;
    this.#notBeforeMs = nowMs + this.#slowDownMs;
    return batch.frame;
  }

  /** Announces what it can, then takes overdue runs and outcomes whose assignment is announced, oldest first. */
  #form(): Batch | null {
    const seq = this.#inFlight.nextSeq;
    const roomBytes = this.#maxFrameBytes - FRAME_OVERHEAD_BYTES;
    // Groups leave room for one outcome, whatever its size.
    const maxGroups = Math.max(1, Math.floor((roomBytes - this.#maxItemBytes) / GROUP_BYTES));
    const assigned = this.#assignments.announce(seq, Math.min(MAX_BATCH_ASSIGNMENTS, maxGroups));
    const overdue = this.#overdue.take(seq, Math.min(MAX_BATCH_ASSIGNMENTS, maxGroups - assigned.length));
    const items = this.#takeItems(roomBytes - (assigned.length + overdue.length) * GROUP_BYTES);
    this.#sendByMs = this.#waiting.items.length > 0 || this.#overdue.hasWaiting ? 0 : null;
    if (assigned.length === 0 && overdue.length === 0 && items.length === 0) return null;
    const frame = JSON.stringify({
      type: "outcomes",
      seq,
      assigned,
      ...(overdue.length > 0 && { overdue }),
      items: items.map((item) => this.#sent(item)),
    });
    return this.#inFlight.add(frame, items);
  }

  #takeItems(maxBytes: number): Item[] {
    let bytes = 0;
    const items: Item[] = [];
    const left: Item[] = [];
    for (const item of this.#waiting.items) {
      const fits = items.length < this.#maxItems && bytes + item.bytes <= maxBytes;
      if (!fits || item.announcement.seq === null || this.#overdue.isWaiting(item.announcement)) {
        left.push(item);
        continue;
      }
      items.push(item);
      bytes += item.bytes;
    }
    this.#waiting.replace(left);
    return items;
  }

  #sent({ announcement, outcome }: Item): object {
    const overdueLimitsMs = this.#overdue.limitsPassedMs(announcement);
    return { ...outcome, assignedSeq: announcement.seq, ...(overdueLimitsMs.length > 0 && { overdueLimitsMs }) };
  }

  #settle(durable: readonly Item[]): void {
    this.#acknowledged += durable.length;
    for (const item of durable) this.#close(item.announcement);
  }

  /**
   * Goes on from the server's count with everything that it does not know of. What a refused batch held is lost, with the
   * assignments that it announced.
   */
  #startOver(through: number, { refused, items: formed }: NonNullable<Resumed["takenApart"]>): void {
    if (refused) {
      this.#dropped.batch_refused += refused.items.length;
      for (const item of refused.items) this.#close(item.announcement);
      for (const announcement of this.#assignments.lose(refused.seq)) this.#overdue.forget(announcement);
      this.#overdue.lose(refused.seq);
    }
    const items = [...formed, ...this.#waiting.items];
    this.#assignments.reopen(
      through,
      items.map((item) => item.announcement),
    );
    this.#overdue.reopen(through);
    const left = items.filter((item) => !item.announcement.lost);
    this.#waiting.replace(left);
    this.#dropped.batch_refused += items.length - left.length;
    if (left.length > 0 || this.#overdue.hasWaiting) this.#sendByMs = 0;
  }

  /** The item as one frame can carry it, else it is dropped. */
  #fitted(item: Item): Item | null {
    const fits = fitted(item, this.#maxItemBytes);
    if (fits === null) {
      this.#forget(item.announcement);
      this.drop("too_large");
    } else if (fits !== item) this.#repaired += 1;
    return fits;
  }

  /** The run's outcome is durable, or refused with its batch. */
  #close(announcement: Announcement): void {
    this.#assignments.close(announcement);
    this.#overdue.forget(announcement);
  }

  /** The run's outcome is lost before a batch could carry it. */
  #forget(announcement: Announcement): void {
    this.#assignments.forget(announcement);
    this.#overdue.forget(announcement);
  }
}
