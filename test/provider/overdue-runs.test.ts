import type { Outcome, OutcomeBatch, StreamOutcome } from "@flagback/schemas";
import { describe, expect, test } from "vitest";
import { Outbox } from "../../provider/src/outcomes/outbox.ts";

const LIMITS = { maxFrameBytes: 1_048_576, maxBatchItems: 500 };
const RUN = { alias: "support-agent", version: "support-agent@2.4.0", revision: 7 };
const LIMITS_MS = [20, 40];

type Frame = Omit<OutcomeBatch, "items"> & { readonly items: readonly StreamOutcome[] };

const outcome = (runId: string, durationMs?: number): Outcome => ({
  runId,
  alias: RUN.alias,
  version: RUN.version,
  status: "success",
  durationMs,
});
const overdue = (limitMs: number, assignedSeq: number, n = 1) => ({
  assignedSeq,
  alias: RUN.alias,
  version: RUN.version,
  limitMs,
  n,
});

function connected(limits = LIMITS): Outbox {
  const box = new Outbox({ maxOutcomes: 1_000, maxOutcomeBytes: 1_000_000 });
  box.resume(0, limits);
  return box;
}

/** A run that starts now, watched for 20 ms and 40 ms. */
function start(box: Outbox, nowMs: number) {
  const announcement = box.assign(RUN, nowMs);
  box.watch(announcement, nowMs, LIMITS_MS);
  return announcement;
}

/** Lets the time go on to `untilMs` as the connection does: it asks for frames whenever the outbox says that one is due. */
function sendUntil(box: Outbox, untilMs: number): Frame[] {
  const sent: Frame[] = [];
  for (let due = box.nextDueMs(); due !== null && due <= untilMs; due = box.nextDueMs()) {
    const frame = box.next(due);
    // Waking up for nothing would be a busy loop.
    expect(frame).not.toBeNull();
    sent.push(JSON.parse(frame ?? "null"));
  }
  return sent;
}

const overdueOf = (frames: readonly Frame[]) => frames.flatMap((frame) => frame.overdue ?? []);

describe("a run that is open past a latency limit", () => {
  test("is reported once for each limit that it passes, and its outcome names them", () => {
    const box = connected();
    const run = start(box, 0);
    const before = sendUntil(box, 50);
    expect(before).toEqual([
      { type: "outcomes", seq: 1, assigned: [{ ...RUN, n: 1 }], overdue: [overdue(20, 1)], items: [] },
      { type: "outcomes", seq: 2, assigned: [], overdue: [overdue(40, 1)], items: [] },
    ]);
    box.report(run, outcome("slow", 50), 50);
    expect(sendUntil(box, 1_000)).toEqual([
      {
        type: "outcomes",
        seq: 3,
        assigned: [],
        items: [{ ...outcome("slow", 50), assignedSeq: 1, overdueLimitsMs: [20, 40] }],
      },
    ]);
  });

  test("is reported with the next flush after it passed it, not before", () => {
    const box = connected();
    start(box, 0);
    expect(sendUntil(box, 20)).toEqual([]);
    expect(box.next(20)).toBeNull();
    expect(overdueOf(sendUntil(box, 30))).toEqual([overdue(20, 1)]);
  });

  test("counts from its start, also when it pins its version late", () => {
    const box = connected();
    const announcement = box.assign(RUN, 100);
    box.watch(announcement, 65, LIMITS_MS);
    expect(overdueOf(sendUntil(box, 100))).toEqual([overdue(20, 1)]);
    expect(overdueOf(sendUntil(box, 111))).toEqual([overdue(40, 1)]);
  });

  test("is counted together with others of its batch and version, and apart from those of other batches", () => {
    const box = connected();
    for (let i = 0; i < 3; i++) start(box, 0);
    box.next(0, true);
    for (let i = 0; i < 2; i++) start(box, 0);
    expect(overdueOf([JSON.parse(box.next(30) ?? "null")])).toEqual([overdue(20, 1, 3), overdue(20, 2, 2)]);
  });

  test("that ends before anybody looked is reported with its outcome, also when it was cancelled", () => {
    const box = connected();
    const run = start(box, 0);
    box.report(run, { ...outcome("gone", 30), status: "cancelled" }, 30);
    expect(sendUntil(box, 1_000)).toEqual([
      {
        type: "outcomes",
        seq: 1,
        assigned: [{ ...RUN, n: 1 }],
        overdue: [overdue(20, 1)],
        items: [{ ...outcome("gone", 30), status: "cancelled", assignedSeq: 1, overdueLimitsMs: [20] }],
      },
    ]);
    expect(box.isEmpty).toBe(false);
    box.acknowledge(1, 0, 0, 1_000);
    expect(box.isEmpty).toBe(true);
  });

  test("is not said to have passed a limit that its own duration denies", () => {
    const box = connected();
    const run = start(box, 0);
    box.report(run, outcome("justInTime", 19.9), 20.1);
    const [sent] = sendUntil(box, 1_000);
    expect(sent).not.toHaveProperty("overdue");
    expect(sent?.items[0]).not.toHaveProperty("overdueLimitsMs");
  });

  test("is one of at most 100 000 that are watched; those beyond are judged by their outcomes alone", () => {
    const box = connected();
    for (let i = 0; i < 100_001; i++) start(box, 0);
    expect(overdueOf(sendUntil(box, 30))).toEqual([overdue(20, 1, 100_000)]);
  });

  test("goes out before its outcome, however few groups a frame holds", () => {
    // One group and one outcome without metrics fill a frame of this size.
    const box = connected({ maxFrameBytes: 8_192, maxBatchItems: 500 });
    const run = start(box, 0);
    box.report(run, outcome("slow", 50), 50);
    const sent = sendUntil(box, 1_000);
    expect(sent.map((frame) => [frame.overdue?.length ?? 0, frame.items.length])).toEqual([
      [0, 0],
      [1, 0],
      [1, 1],
    ]);
    expect(sent[2]?.items[0]?.overdueLimitsMs).toEqual([20, 40]);
  });

  test("is no reason for an outcome that no longer fits into its frame", () => {
    const box = new Outbox({ maxOutcomes: 1_000, maxOutcomeBytes: 1_000_000 });
    box.resume(0, { maxFrameBytes: 8_192, maxBatchItems: 500 });
    const limitsMs = Array.from({ length: 32 }, (_, i) => i + 0.123456789012345);
    const announcement = box.assign(RUN, 0);
    box.watch(announcement, 0, limitsMs);
    // 7 300 bytes of attributes fit; with 32 limits they don't, and are left out.
    expect(box.report(announcement, { ...outcome("r1", 50), attributes: { text: "x".repeat(7_200) } }, 50)).toBe(
      "slimmed",
    );
    for (;;) {
      const frame = box.next(1_000);
      if (frame === null) break;
      expect(frame.length).toBeLessThanOrEqual(8_192);
      box.acknowledge(JSON.parse(frame).seq, 0, 0, 1_000);
    }
    expect(box.isEmpty).toBe(true);
  });
});

describe("a run that ends in time", () => {
  test("is not reported as overdue, then or later, and keeps nobody awake", () => {
    const box = connected();
    const run = start(box, 0);
    box.report(run, outcome("fast", 10), 10);
    const sent = sendUntil(box, 1_000);
    expect(sent).toHaveLength(1);
    expect(sent[0]).not.toHaveProperty("overdue");
    expect(sent[0]?.items).toEqual([{ ...outcome("fast", 10), assignedSeq: 1 }]);
    expect(box.nextDueMs()).toBeNull();
  });

  test("exactly at a limit has not passed it", () => {
    const box = connected();
    const run = start(box, 0);
    box.report(run, outcome("onTheDot", 20), 20);
    expect(overdueOf(sendUntil(box, 1_000))).toEqual([]);
  });
});

describe("after a reconnect", () => {
  test("an overdue run that is durable is not reported again, and its outcome still names the limit", () => {
    const box = connected();
    const run = start(box, 0);
    sendUntil(box, 30);
    box.hold(false);
    // It was counted; only the acknowledgement was lost.
    box.resume(1, LIMITS);
    expect(overdueOf(sendUntil(box, 50))).toEqual([overdue(40, 1)]);
    box.report(run, outcome("slow", 50), 50);
    const sent = sendUntil(box, 1_000);
    expect(overdueOf(sent)).toEqual([]);
    expect(sent[0]?.items[0]).toMatchObject({ assignedSeq: 1, overdueLimitsMs: [20, 40] });
  });

  test("a batch that was not counted is sent again byte for byte", () => {
    const box = connected();
    start(box, 0);
    const frame = box.next(30);
    box.hold(false);
    box.resume(0, LIMITS);
    expect(box.next(35)).toBe(frame);
    expect(overdueOf(sendUntil(box, 1_000))).toEqual([overdue(40, 1)]);
  });

  test("a run that passed its limits while nobody was connected is reported then", () => {
    const box = connected();
    start(box, 0);
    box.next(0, true);
    box.hold(false);
    expect(box.nextDueMs()).toBeNull();
    box.resume(1, LIMITS);
    expect(overdueOf(sendUntil(box, 500))).toEqual([overdue(20, 1), overdue(40, 1)]);
  });

  test("to a restored database everything it forgot is reported again, under the new numbers, and nothing else", () => {
    const box = connected();
    const run = start(box, 0);
    const [first] = sendUntil(box, 30);
    const later = start(box, 30);
    const rest = sendUntil(box, 200);
    expect(first?.seq).toBe(1);
    box.acknowledge(rest.at(-1)?.seq ?? 0, 0, 0, 200);
    box.hold(false);
    // The backup knows the first run and that it passed 20 ms, and nothing of what came then.
    box.resume(1, LIMITS);
    const [again] = sendUntil(box, 300);
    expect(again).toMatchObject({ seq: 2, assigned: [{ ...RUN, n: 1 }] });
    expect(again?.overdue).toEqual([overdue(40, 1), overdue(20, 2), overdue(40, 2)]);
    box.report(run, outcome("first", 300), 300);
    box.report(later, outcome("later", 270), 300);
    const [ended] = sendUntil(box, 400);
    expect(ended).not.toHaveProperty("overdue");
    expect(ended?.items).toEqual([
      { ...outcome("first", 300), assignedSeq: 1, overdueLimitsMs: [20, 40] },
      { ...outcome("later", 270), assignedSeq: 2, overdueLimitsMs: [20, 40] },
    ]);
  });

  test("what a refused batch said is not said again, and not claimed by the outcome", () => {
    const box = connected();
    const run = start(box, 0);
    box.next(0, true);
    box.acknowledge(1, 0, 0, 0);
    expect(overdueOf([JSON.parse(box.next(30) ?? "null")])).toEqual([overdue(20, 1)]);
    box.hold(true);
    box.resume(1, LIMITS);
    box.next(31);
    box.hold(true);
    box.resume(1, LIMITS);
    expect(overdueOf(sendUntil(box, 50))).toEqual([overdue(40, 1)]);
    box.report(run, outcome("slow", 50), 50);
    expect(sendUntil(box, 1_000)[0]?.items[0]?.overdueLimitsMs).toEqual([40]);
  });
});
