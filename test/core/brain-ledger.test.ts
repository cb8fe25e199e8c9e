import {
  addCounts,
  beginStage,
  cloneLedger,
  freezeThrough,
  type Ledger,
  newLedger,
  pendingOf,
  recordAssigned,
  recordLost,
  recordMissing,
  recordOutcome,
  rowsOf,
  settleExcluded,
} from "@flagback/core";
import type { Outcome } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { errorRate, outcome, threeGuardrails } from "./support-brain.ts";

const empty = () => newLedger(threeGuardrails, 0.01, 5);

describe("recording", () => {
  test("an outcome is counted in the tick of its assignment, for each guardrail that it says something about", () => {
    const ledger = empty();
    recordAssigned(ledger, "candidate", "r1", 7, 3);
    recordAssigned(ledger, "candidate", "r1", 8, 1);
    recordOutcome(ledger, "candidate", "r1", 7, outcome({ status: "failure", toolCalls: 4, toolErrors: 1 }));
    recordOutcome(ledger, "candidate", "r1", 7, outcome({ durationMs: 2_000 }));
    expect(
      ledger.ticks.map(({ tick, arms: { candidate } }) => [tick, candidate.total.assigned, candidate.total.settled]),
    ).toEqual([
      [7, 3, 2],
      [8, 1, 0],
    ]);
    const [errors, slow, tools] = ledger.ticks[0]!.arms.candidate.total.guardrails;
    expect([errors!.judged, errors!.bad]).toEqual([2, 1_000_000]);
    expect([slow!.judged, slow!.bad]).toEqual([1, 1_000_000]);
    expect([tools!.judged, tools!.bad]).toEqual([1, 250_000]);
    expect(tools!.bins!.n).toEqual([0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    expect(tools!.bins!.sum[2]).toBe(250_000);
    expect(pendingOf(ledger.ticks[0]!.arms.candidate.total)).toBe(1);
  });

  test("ticks stay in order however they arrive", () => {
    const ledger = empty();
    for (const tick of [5, 2, 9, 2, 7]) recordAssigned(ledger, "candidate", "r1", tick, 1);
    expect(ledger.ticks.map(({ tick, arms }) => [tick, arms.candidate.total.assigned])).toEqual([
      [2, 2],
      [5, 1],
      [7, 1],
      [9, 1],
    ]);
  });

  test("excluded, missing and lost runs are no longer pending", () => {
    const ledger = empty();
    recordAssigned(ledger, "candidate", "r1", 1, 10);
    settleExcluded(ledger, "candidate", "r1", 1, 2);
    recordMissing(ledger, "candidate", "r1", 1, 3);
    recordLost(ledger, "candidate", "r1", 1, 4);
    expect(pendingOf(ledger.ticks[0]!.arms.candidate.total)).toBe(1);
  });

  test("more outcomes than assignments are a broken promise", () => {
    const ledger = empty();
    recordAssigned(ledger, "candidate", "r1", 1, 1);
    recordOutcome(ledger, "candidate", "r1", 1, outcome());
    expect(() => recordOutcome(ledger, "candidate", "r1", 1, outcome())).toThrow(RangeError);
    expect(() => recordMissing(ledger, "candidate", "r1", 1, 1)).toThrow(RangeError);
    expect(() => recordOutcome(ledger, "candidate", "r1", 2, outcome())).toThrow(RangeError);
    expect(() => recordAssigned(ledger, "candidate", "r1", 1, -1)).toThrow(RangeError);
    expect(() => recordAssigned(ledger, "candidate", "r1", 1.5, 1)).toThrow(RangeError);
    expect(ledger.ticks).toHaveLength(1);
    expect(pendingOf(ledger.ticks[0]!.arms.candidate.total)).toBe(0);
  });

  test("a clone shares no count with its original", () => {
    const ledger = empty();
    recordAssigned(ledger, "candidate", "r1", 1, 5);
    recordOutcome(ledger, "candidate", "r1", 1, outcome({ toolCalls: 2, toolErrors: 1 }));
    const clone = cloneLedger(ledger);
    const before = JSON.stringify(clone);
    expect(JSON.stringify(ledger)).toBe(before);
    recordOutcome(ledger, "candidate", "r1", 1, outcome({ status: "failure", toolCalls: 2, toolErrors: 2 }));
    recordMissing(ledger, "candidate", "r1", 1, 3);
    freezeThrough(ledger, 1);
    beginStage(ledger, 4);
    expect(JSON.stringify(clone)).toBe(before);
  });
});

describe("freezing", () => {
  test("a tick with a pending run does not freeze, and nothing has changed then", () => {
    const ledger = empty();
    recordAssigned(ledger, "candidate", "r1", 1, 1);
    recordAssigned(ledger, "candidate", "r1", 2, 1);
    recordOutcome(ledger, "candidate", "r1", 1, outcome());
    const before = JSON.stringify(ledger);
    expect(() => freezeThrough(ledger, 2)).toThrow(/1 of its runs are pending/);
    expect(JSON.stringify(ledger)).toBe(before);
  });

  test("a frozen tick takes no more counts", () => {
    const ledger = empty();
    recordAssigned(ledger, "candidate", "r1", 1, 1);
    recordOutcome(ledger, "candidate", "r1", 1, outcome());
    freezeThrough(ledger, 3);
    expect(ledger.ticks).toEqual([]);
    expect(ledger.prefix.throughTick).toBe(3);
    expect(() => recordAssigned(ledger, "candidate", "r1", 3, 1)).toThrow(/frozen/);
    expect(() => recordOutcome(ledger, "candidate", "r1", 1, outcome())).toThrow(/frozen/);
    recordAssigned(ledger, "candidate", "r1", 4, 1);
    freezeThrough(ledger, 2);
    expect(ledger.prefix.throughTick).toBe(3);
  });
});

describe("stages", () => {
  test("a stage begins between ticks: in the next one where this one has assignments", () => {
    const ledger = newLedger([errorRate], 0.01, 4);
    beginStage(ledger, 3);
    recordAssigned(ledger, "candidate", "r1", 5, 1);
    beginStage(ledger, 5);
    beginStage(ledger, 9);
    expect(ledger.lumpTicks).toEqual([3, 6, 9]);
  });

  test("entering a stage again adds no weight beyond what C pays for", () => {
    const ledger = newLedger([errorRate], 0.01, 2);
    beginStage(ledger, 1);
    beginStage(ledger, 2);
    expect(ledger.lumpTicks).toEqual([1]);
  });

  test("a stage begins neither in a frozen tick nor before another stage", () => {
    const ledger = newLedger([errorRate], 0.01, 5);
    freezeThrough(ledger, 4);
    expect(() => beginStage(ledger, 4)).toThrow(/frozen/);
    beginStage(ledger, 8);
    expect(() => beginStage(ledger, 7)).toThrow(RangeError);
  });
});

describe("order and replicas", () => {
  const status = fc.constantFrom<Outcome["status"]>(
    "success",
    "failure",
    "timeout",
    "escalated",
    "cancelled",
    "blocked",
  );
  const anOutcome = fc
    .record({
      status,
      durationMs: fc.option(fc.integer({ min: 0, max: 4_000 }), { nil: undefined }),
      toolCalls: fc.nat(9),
      toolErrors: fc.nat(9),
    })
    .map((fields) => outcome({ ...fields, toolErrors: Math.min(fields.toolErrors, fields.toolCalls) }));
  const items = fc.array(fc.record({ tick: fc.nat(4), replica: fc.nat(2), outcome: anOutcome }), { maxLength: 60 });

  function recorded(list: { tick: number; outcome: Outcome }[]): Ledger {
    const ledger = empty();
    for (const { tick } of list) recordAssigned(ledger, "candidate", "r1", tick, 1);
    for (const item of list) recordOutcome(ledger, "candidate", "r1", item.tick, item.outcome);
    return ledger;
  }

  test("any order of the same outcomes gives the same ledger, bit by bit", () => {
    const shuffled = items.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length })),
    );
    fc.assert(
      fc.property(shuffled, ([list, other]) => {
        expect(JSON.stringify(recorded(other))).toBe(JSON.stringify(recorded(list)));
      }),
    );
  });

  test("any split over replicas sums to the same ledger, bit by bit", () => {
    fc.assert(
      fc.property(items, (list) => {
        const merged = empty();
        for (const replica of [2, 0, 1]) {
          const part = recorded(list.filter((item) => item.replica === replica));
          for (const { tick } of part.ticks) for (const row of rowsOf(part, tick)) addCounts(merged, row);
        }
        expect(JSON.stringify(merged)).toBe(JSON.stringify(recorded(list)));
      }),
    );
  });

  test("assignments and outcomes may come in rows of their own", () => {
    const ledger = empty();
    recordAssigned(ledger, "candidate", "r1", 1, 2);
    const [row] = rowsOf(ledger, 1);
    const other = empty();
    addCounts(other, { ...row!, assigned: 0, settled: 2 });
    expect(pendingOf(other.ticks[0]!.arms.candidate.total)).toBe(0);
    addCounts(other, row!);
    expect(pendingOf(other.ticks[0]!.arms.candidate.total)).toBe(0);
    expect(other.ticks[0]!.arms.candidate.total.assigned).toBe(2);
  });
});
