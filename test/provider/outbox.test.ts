import type { Outcome, OutcomeBatch } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Outbox } from "../../provider/src/outcomes/outbox.ts";

const LIMITS = { maxFrameBytes: 1_048_576, maxBatchItems: 500 };
const RUN = { alias: "support-agent", version: "support-agent@2.4.0", revision: 7 };

const outcome = (runId: string): Outcome => ({ runId, alias: RUN.alias, version: RUN.version, status: "success" });
const batch = (
  frame: string | null,
): Omit<OutcomeBatch, "items"> & { items: { runId: string; assignedSeq: number; overdueLimitsMs?: number[] }[] } =>
  JSON.parse(frame ?? "null");
const outbox = (maxOutcomes = 1_000) => new Outbox({ maxOutcomes, maxOutcomeBytes: 1_000_000 });

function connected(maxOutcomes?: number): Outbox {
  const box = outbox(maxOutcomes);
  box.resume(0, LIMITS);
  return box;
}

/** One run from assignment to report, at time 0. */
function run(box: Outbox, runId: string): void {
  box.report(box.assign(RUN, 0), outcome(runId), 0);
}

describe("a batch", () => {
  test("announces a run before or with its outcome, and the outcome names the batch that did", () => {
    const box = connected();
    const first = box.assign(RUN, 0);
    box.assign(RUN, 0);
    expect(batch(box.next(100))).toEqual({ type: "outcomes", seq: 1, assigned: [{ ...RUN, n: 2 }], items: [] });
    box.report(first, outcome("r1"), 200);
    run(box, "r2");
    expect(batch(box.next(300))).toEqual({
      type: "outcomes",
      seq: 2,
      assigned: [{ ...RUN, n: 1 }],
      items: [
        { ...outcome("r1"), assignedSeq: 1 },
        { ...outcome("r2"), assignedSeq: 2 },
      ],
    });
  });

  test("waits for company, an assignment at most 250 ms", () => {
    const box = connected();
    box.assign(RUN, 1_000);
    expect(box.next(1_000)).toBeNull();
    const dueMs = box.nextDueMs() ?? Number.POSITIVE_INFINITY;
    expect(dueMs).toBeLessThanOrEqual(1_250);
    expect(box.next(dueMs)).not.toBeNull();
    expect(box.nextDueMs()).toBeNull();
  });

  test("holds no more items and bytes than the server takes", () => {
    const box = outbox();
    box.resume(0, { maxFrameBytes: 40_000, maxBatchItems: 3 });
    for (let i = 0; i < 7; i++) run(box, `r${i}`);
    expect(batch(box.next(1_000)).items).toHaveLength(3);
    expect(batch(box.next(1_000)).items).toHaveLength(3);
    expect(batch(box.next(1_000)).items).toHaveLength(1);
  });

  test("splits a group that has more runs than the schema allows", () => {
    const box = connected();
    for (let i = 0; i < 200_001; i++) box.assign(RUN, 0);
    // MAX_GROUP_RUNS is 100 000.
    expect(batch(box.next(1_000)).assigned.map((group) => group.n)).toEqual([100_000, 100_000, 1]);
  });

  test("is one of at most four on their way", () => {
    const box = outbox();
    box.resume(0, { maxFrameBytes: 1_048_576, maxBatchItems: 1 });
    for (let i = 0; i < 6; i++) run(box, `r${i}`);
    const frames = Array.from({ length: 6 }, () => box.next(1_000));
    expect(frames.filter((frame) => frame !== null)).toHaveLength(4);
    box.acknowledge(1, 0, 0, 1_000);
    expect(batch(box.next(1_000)).seq).toBe(5);
  });

  test("waits as long as the server asks for", () => {
    const box = connected();
    run(box, "r1");
    box.next(1_000);
    box.acknowledge(1, 0, 2_000, 1_000);
    box.report(box.assign(RUN, 1_000), outcome("r2"), 1_000);
    expect(box.next(2_999)).toBeNull();
    expect(box.nextDueMs()).toBe(3_000);
    expect(box.next(3_000)).not.toBeNull();
  });
});

describe("a reconnect", () => {
  test("drops what was counted and sends the rest again, byte for byte and in order", () => {
    const box = outbox();
    box.resume(0, { ...LIMITS, maxBatchItems: 1 });
    for (let i = 0; i < 3; i++) run(box, `r${i}`);
    const frames = [box.next(100), box.next(100), box.next(100)];
    box.hold(false);
    expect(box.next(200)).toBeNull();
    box.resume(1, LIMITS);
    expect([box.next(300), box.next(300), box.next(300)]).toEqual([frames[1], frames[2], null]);
  });

  test("sends what was reported before the first connection", () => {
    const box = outbox();
    run(box, "early");
    expect(box.next(1_000)).toBeNull();
    box.resume(0, LIMITS);
    expect(batch(box.next(1_000))).toMatchObject({ seq: 1, items: [{ runId: "early", assignedSeq: 1 }] });
  });

  test("to a restored database goes on from its count and announces open runs again", () => {
    const box = connected();
    const open = box.assign(RUN, 0);
    box.next(100);
    run(box, "counted");
    box.next(100);
    box.acknowledge(2, 0, 0, 100);
    run(box, "underWay");
    box.next(100);
    box.hold(false);
    // The backup knows nothing of us.
    box.resume(0, LIMITS);
    box.report(open, outcome("open"), 200);
    expect(batch(box.next(1_000))).toEqual({
      type: "outcomes",
      seq: 1,
      assigned: [{ ...RUN, n: 2 }],
      items: [
        { ...outcome("underWay"), assignedSeq: 1 },
        { ...outcome("open"), assignedSeq: 1 },
      ],
    });
  });

  test("to a server that counted more than we sent goes on after it", () => {
    const box = connected();
    box.resume(9, LIMITS);
    run(box, "r1");
    expect(batch(box.next(1_000)).seq).toBe(10);
  });

  test("drops a batch that closed two sockets, counts its outcomes, and numbers the rest without a gap", () => {
    const box = outbox();
    box.resume(0, { ...LIMITS, maxBatchItems: 1 });
    run(box, "bad");
    run(box, "good");
    box.next(100);
    box.next(100);
    box.hold(true);
    box.resume(0, LIMITS);
    // Alone this time, so that the blame is certain.
    expect(batch(box.next(200)).seq).toBe(1);
    expect(box.next(200)).toBeNull();
    box.hold(true);
    box.resume(0, LIMITS);
    expect(box.statistics.dropped.batch_refused).toBe(2);
    run(box, "after");
    expect(batch(box.next(300))).toMatchObject({ seq: 1, items: [{ runId: "after", assignedSeq: 1 }] });
  });

  test("a batch that closed one socket and is then counted costs nothing", () => {
    const box = connected();
    run(box, "r1");
    box.next(100);
    box.hold(true);
    box.resume(1, LIMITS);
    expect(box.isEmpty).toBe(true);
    expect(box.statistics.acknowledged).toBe(1);
  });
});

describe("a full outbox", () => {
  test("drops the oldest outcome that is not on its way, with its assignment, and counts it", () => {
    const box = outbox(2);
    for (let i = 0; i < 5; i++) run(box, `r${i}`);
    expect(box.statistics).toMatchObject({ pending: 2, dropped: { full: 3 } });
    box.resume(0, LIMITS);
    const sent = batch(box.next(1_000));
    expect(sent.items.map((item) => item.runId)).toEqual(["r3", "r4"]);
    expect(sent.assigned).toEqual([{ ...RUN, n: 2 }]);
  });

  test("is bounded in bytes as well", () => {
    const box = new Outbox({ maxOutcomes: 1_000, maxOutcomeBytes: 400 });
    for (let i = 0; i < 10; i++) run(box, `r${i}`);
    expect(box.statistics.pendingBytes).toBeLessThanOrEqual(400);
    expect(box.statistics.dropped.full).toBeGreaterThan(0);
  });

  test("drops outcomes of runs that nobody was told of before those that the server waits for", () => {
    const box = connected(2);
    const announced = box.assign(RUN, 0);
    box.next(100);
    box.acknowledge(1, 0, 0, 100);
    box.hold(false);
    box.report(announced, outcome("waitedFor"), 200);
    for (let i = 0; i < 3; i++) run(box, `r${i}`);
    box.resume(1, LIMITS);
    expect(batch(box.next(1_000)).items.map((item) => item.runId)).toEqual(["waitedFor", "r2"]);
  });
});

describe("an outcome that is too large", () => {
  const metrics = Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [`metric_${i}`, i]));

  test("settles its run without its metrics and attributes", () => {
    const box = connected();
    const announced = box.assign(RUN, 0);
    expect(box.report(announced, { ...outcome("large"), metrics, attributes: { tenant: "acme" } }, 0)).toBe("slimmed");
    expect(batch(box.next(1_000)).items).toEqual([{ ...outcome("large"), assignedSeq: 1 }]);
    expect(box.statistics).toMatchObject({ repaired: 1, dropped: { too_large: 0 } });
  });

  test("for a server that takes less than the last one is made to fit when that server says so", () => {
    const box = outbox();
    box.report(box.assign(RUN, 0), { ...outcome("r1"), attributes: { text: "x".repeat(12_000) } }, 0);
    expect(box.statistics.repaired).toBe(0);
    box.resume(0, { maxFrameBytes: 8_192, maxBatchItems: 500 });
    expect(batch(box.next(1_000)).items).toEqual([{ ...outcome("r1"), assignedSeq: 1 }]);
  });

  test("even without them is dropped and counted, and nobody is told of its run", () => {
    const box = connected();
    const endless: Outcome = { ...outcome("r1"), errorType: "x".repeat(20_000) };
    expect(box.report(box.assign(RUN, 0), endless, 0)).toBe("dropped");
    expect(box.statistics.dropped.too_large).toBe(1);
    expect(box.isEmpty).toBe(true);
  });
});

test("whatever limits a server has, the outbox never wakes up for nothing and every outcome goes out", () => {
  const limits = fc.record({
    maxFrameBytes: fc.integer({ min: 1, max: 40_000 }),
    maxBatchItems: fc.integer({ min: 1, max: 5 }),
  });
  const sizes = fc.array(fc.integer({ min: 0, max: 30_000 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(limits, sizes, (limit, attributeSizes) => {
      const box = outbox();
      box.resume(0, limit);
      for (const [i, size] of attributeSizes.entries()) {
        // Each under a version of its own, so that each needs a group of its own.
        const version = `support-agent@${i}`;
        const announced = box.assign({ ...RUN, version }, 0);
        box.report(announced, { ...outcome(`r${i}`), version, attributes: { text: "x".repeat(size) } }, 0);
      }
      const sent: string[] = [];
      let nowMs = 0;
      for (let due = box.nextDueMs(); due !== null; due = box.nextDueMs()) {
        nowMs = Math.max(nowMs, due);
        const frame = box.next(nowMs);
        expect(frame).not.toBeNull();
        expect(frame?.length).toBeLessThanOrEqual(Math.max(8_192, limit.maxFrameBytes));
        const { seq, items } = batch(frame);
        sent.push(...items.map((item) => item.runId));
        box.acknowledge(seq, 0, 0, nowMs);
      }
      expect(sent.sort()).toEqual(attributeSizes.map((_, i) => `r${i}`).sort());
    }),
  );
});

describe("an acknowledgement", () => {
  test("empties the outbox up to it", () => {
    const box = connected();
    run(box, "r1");
    box.next(100);
    expect(box.isEmpty).toBe(false);
    box.acknowledge(1, 0, 0, 100);
    expect(box.isEmpty).toBe(true);
  });

  test("of more than was sent does not take what was not", () => {
    const box = connected();
    run(box, "r1");
    box.acknowledge(5, 0, 0, 0);
    expect(batch(box.next(100)).seq).toBe(1);
  });
});

test("whatever is cut, lost or crashed, the server counts every outcome and overdue run once, never more than assigned", () => {
  // A server as the protocol has it: in order or closed, counts in memory, durable only by commit, and a crash forgets the rest.
  const action = fc.constantFrom("run", "run", "assign", "finish", "send", "send", "commit", "cut", "crash");
  fc.assert(
    fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
      const box = outbox();
      let nowMs = 0;
      let runs = 0;
      let limitsPassed = 0;
      const open: { announcement: ReturnType<Outbox["assign"]>; runId: string; startedMs: number }[] = [];
      const finish = ({ announcement, runId, startedMs }: (typeof open)[number]) => {
        limitsPassed += [100, 400].filter((limitMs) => nowMs - startedMs > limitMs).length;
        box.report(announcement, outcome(runId), nowMs);
      };
      let durable = { through: 0, runIds: [] as string[], assigned: 0, overdue: 0, ofEnded: 0 };
      let memory = durable;
      const connect = () => box.resume(durable.through, LIMITS);
      const sendAll = () => {
        for (let frame = box.next(nowMs); frame !== null; frame = box.next(nowMs)) {
          const { seq, items, assigned, overdue = [] } = batch(frame);
          expect(seq).toBe(memory.through + 1);
          memory = {
            through: seq,
            runIds: [...memory.runIds, ...items.map((item) => item.runId)],
            assigned: memory.assigned + assigned.reduce((sum, group) => sum + group.n, 0),
            overdue: memory.overdue + overdue.reduce((sum, group) => sum + group.n, 0),
            ofEnded: memory.ofEnded + items.reduce((sum, item) => sum + (item.overdueLimitsMs?.length ?? 0), 0),
          };
          expect(memory.runIds.length).toBeLessThanOrEqual(memory.assigned);
          expect(memory.ofEnded).toBeLessThanOrEqual(memory.overdue);
          for (const item of [...items, ...overdue]) expect(item.assignedSeq).toBeLessThanOrEqual(seq);
        }
      };
      const commit = () => {
        durable = memory;
        box.acknowledge(durable.through, 0, 0, nowMs);
      };
      connect();
      for (const each of actions) {
        nowMs += 150;
        switch (each) {
          case "run":
            run(box, `r${runs++}`);
            break;
          case "assign": {
            const announcement = box.assign(RUN, nowMs);
            box.watch(announcement, nowMs, [100, 400]);
            open.push({ announcement, runId: `r${runs++}`, startedMs: nowMs });
            break;
          }
          case "finish": {
            const ended = open.shift();
            if (ended) finish(ended);
            break;
          }
          case "send":
            sendAll();
            break;
          case "commit":
            commit();
            break;
          case "cut":
            box.hold(false);
            durable = memory;
            connect();
            break;
          case "crash":
            box.hold(false);
            memory = durable;
            connect();
            break;
        }
      }
      for (const ended of open) finish(ended);
      for (let i = 0; i < 200 && !box.isEmpty; i++) {
        nowMs += 1_000;
        sendAll();
        commit();
      }
      expect([...durable.runIds].sort()).toEqual(Array.from({ length: runs }, (_, i) => `r${i}`).sort());
      expect(durable).toMatchObject({ assigned: runs, overdue: limitsPassed, ofEnded: limitsPassed });
    }),
  );
});
