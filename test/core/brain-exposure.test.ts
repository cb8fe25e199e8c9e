import {
  addCounts,
  type Exclusion,
  expectShare,
  freezeThrough,
  judge,
  type Ledger,
  newLedger,
  recordAssigned,
  recordOutcome,
  settleExcluded,
} from "@flagback/core";
import type { Outcome } from "@flagback/schemas";
import { describe, expect, test } from "vitest";
import { nextIsBad, xoshiro128 } from "../../bench/src/rng.ts";
import { errorRate, outcome, rowOf } from "./support-brain.ts";

describe("excluded runs", () => {
  /** Ticks of 10 candidate and 90 stable runs, of which this part is excluded. */
  function excluded(candidate: number, stable: number, ticks: number, exclusion: Exclusion): Ledger {
    const rng = xoshiro128(5_000_000);
    const ledger = newLedger([errorRate], 0.01, 1);
    for (let tick = 0; tick < ticks; tick++) {
      for (const [arm, n, rate] of [
        ["candidate", 10, candidate],
        ["stable", 90, stable],
      ] as const) {
        let k = 0;
        for (let i = 0; i < n; i++) if (nextIsBad(rng, rate)) k += 1;
        const row = rowOf(arm, "r1", tick, n, 0);
        row.guardrails[0]!.judged = n - k;
        row.excluded[exclusion] = k;
        addCounts(ledger, row);
      }
    }
    return ledger;
  }

  test.each(["cancelled", "blocked", "client", "policy", "isDefault"] as const)(
    "failure that hides as %s holds the rollout",
    (exclusion) => {
      const verdict = judge(excluded(0.3, 0.02, 60, exclusion));
      expect(verdict).toMatchObject({ kind: "hold", reason: "excluded_runs" });
      const [worst] = [...verdict.exclusions].sort((a, b) => b.logE - a.logE);
      expect(worst!.exclusion).toBe(exclusion);
      expect(worst!.candidateRate).toBeGreaterThan(0.2);
    },
  );

  test("shares that both arms have hold nothing, however high", () => {
    for (const rate of [0.01, 0.1, 0.5]) expect(judge(excluded(rate, rate, 100, "cancelled")).kind).toBe("allow");
  });

  test("the first tick since which it holds is kept through freezing", () => {
    const ledger = excluded(0.5, 0.01, 40, "client");
    const before = judge(ledger);
    expect(before).toMatchObject({ kind: "hold", sinceTick: expect.any(Number) });
    freezeThrough(ledger, 50);
    expect(judge(ledger)).toEqual(before);
  });

  test("each outcome is in the first class that applies, and drills are in none", () => {
    const ledger = newLedger([errorRate], 0.01, 1);
    const outcomes: Partial<Outcome>[] = [
      { status: "cancelled" },
      { status: "blocked" },
      { blockedWrites: 1 },
      { errorOrigin: "client", status: "failure" },
      { errorOrigin: "policy", status: "cancelled" },
      { isDefault: true, status: "blocked" },
      { drill: true, status: "cancelled" },
      { status: "failure" },
    ];
    recordAssigned(ledger, "candidate", "r1", 0, 10);
    for (const each of outcomes) recordOutcome(ledger, "candidate", "r1", 0, outcome(each));
    settleExcluded(ledger, "candidate", "r1", 0, 2, "cancelled");
    const { total } = ledger.ticks[0]!.arms.candidate;
    expect(total.excluded).toEqual({ cancelled: 3, blocked: 2, client: 1, policy: 1, isDefault: 1 });
    expect(total.settled).toBe(10);
    expect(total.guardrails[0]).toEqual({ judged: 1, bad: 1_000_000 });
  });
});

describe("the sample ratio", () => {
  /** Ticks of a hundred assignments, the candidate's weight 10 % and what it gets in truth. */
  function assigned(share: number, ticks: number, seed: number, change?: { tick: number; weight: number }): Ledger {
    const rng = xoshiro128(seed);
    const ledger = newLedger([errorRate], 0.01, 1);
    expectShare(ledger, 0, 10_000);
    if (change) expectShare(ledger, change.tick, change.weight);
    for (let tick = 0; tick < ticks; tick++) {
      let candidate = 0;
      for (let i = 0; i < 100; i++) if (nextIsBad(rng, share)) candidate += 1;
      addCounts(ledger, rowOf("candidate", "r1", tick, candidate, 0));
      addCounts(ledger, rowOf("stable", "r1", tick, 100 - candidate, 0));
    }
    return ledger;
  }

  test("exposure as its weight says, and a little beside it, holds nothing", () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      for (const share of [0.08, 0.1, 0.12]) expect(judge(assigned(share, 200, seed)).kind).toBe("allow");
    }
  });

  test.each([
    ["more", 0.25],
    ["fewer", 0.03],
  ])("%s candidate runs than the weight says hold the rollout", (_, share) => {
    const verdict = judge(assigned(share, 120, 1));
    expect(verdict).toMatchObject({ kind: "hold", reason: "sample_ratio" });
    const { logETooMany, logETooFew } = verdict.exposure;
    expect(logETooMany > logETooFew).toBe(share > 0.1);
  });

  test("nothing is tested right after a change of weight, nor without an expectation", () => {
    // Thirty ticks after tick 40 everything goes on as before the change, because runtimes apply it one by one.
    expect(judge(assigned(0.1, 69, 1, { tick: 40, weight: 50_000 })).kind).toBe("allow");
    expect(judge(assigned(0.1, 90, 1, { tick: 40, weight: 50_000 })).kind).toBe("hold");
    const unknown = newLedger([errorRate], 0.01, 1);
    for (let tick = 0; tick < 100; tick++) addCounts(unknown, rowOf("candidate", "r1", tick, 50, 0));
    expect(judge(unknown).kind).toBe("allow");
  });

  test("freezing keeps the weight in force and forgets the ones before it", () => {
    const ledger = assigned(0.25, 120, 1, { tick: 50, weight: 30_000 });
    const before = judge(ledger);
    freezeThrough(ledger, 100);
    expect(ledger.expected).toEqual([{ tick: 50, candidateWeight: 30_000 }]);
    expect(judge(ledger)).toEqual(before);
    freezeThrough(ledger, 119);
    expect(judge(ledger)).toEqual(before);
  });

  test("a weight is a number of thousandths of a percent, told in order", () => {
    const ledger = newLedger([errorRate], 0.01, 1);
    expect(() => expectShare(ledger, 0, 1.5)).toThrow(RangeError);
    expect(() => expectShare(ledger, 0, 100_001)).toThrow(RangeError);
    expectShare(ledger, 9, 1_000);
    expectShare(ledger, 9, 2_000);
    expectShare(ledger, 12, 2_000);
    expect(ledger.expected).toEqual([{ tick: 9, candidateWeight: 2_000 }]);
    expect(() => expectShare(ledger, 8, 1_000)).toThrow(RangeError);
    freezeThrough(ledger, 20);
    expect(() => expectShare(ledger, 20, 1_000)).toThrow(/frozen/);
  });
});
