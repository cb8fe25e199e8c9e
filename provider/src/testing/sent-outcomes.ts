/**
 * What a server would have got from an outbox: every batch is taken at once, checked as the server checks it, and durable.
 */
import {
  decodeRuntimeFrame,
  MAX_BATCH_ITEMS,
  MAX_RUNTIME_FRAME_BYTES,
  type Outcome,
  StreamOutcome,
} from "@flagback/schemas";
import type { Outbox } from "../outcomes/outbox.ts";

export class SentOutcomes {
  readonly #outbox: Outbox;
  readonly #outcomes: Outcome[] = [];

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
    outbox.resume(0, { maxFrameBytes: MAX_RUNTIME_FRAME_BYTES, maxBatchItems: MAX_BATCH_ITEMS });
  }

  /** In the order in which they were sent. */
  get all(): Outcome[] {
    return structuredClone(this.#outcomes);
  }

  /** Takes what the outbox has to send. */
  take(nowMs: number): void {
    for (let frame = this.#outbox.next(nowMs, true); frame !== null; frame = this.#outbox.next(nowMs, true)) {
      const decoded = decodeRuntimeFrame(frame);
      if (decoded.kind !== "message" || decoded.message.type !== "outcomes") return;
      const { seq, items } = decoded.message;
      const sent = items.map((item) => StreamOutcome.safeParse(item));
      for (const { data } of sent) {
        if (!data) continue;
        const { assignedSeq: _of, overdueLimitsMs: _passed, ...outcome } = data;
        this.#outcomes.push(outcome);
      }
      this.#outbox.acknowledge(seq, sent.filter(({ success }) => !success).length, 0, nowMs);
    }
  }
}
