import { readFileSync } from "node:fs";
import {
  beginStage,
  type CompiledGuardrail,
  cloneLedger,
  freezeThrough,
  judge,
  type Ledger,
  logThreshold,
  newDetector,
  newLedger,
  recordAssigned,
  recordLost,
  recordMissing,
  recordOutcome,
  settleExcluded,
  stepDetector,
} from "@flagback/core";
import { GuardrailEvidence, type Outcome } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nextExponential, nextIsBad, type Rng, xoshiro128 } from "../../bench/src/rng.ts";
import { errorRate, latency, outcome, threeGuardrails, toolFailure } from "./support-brain.ts";

const golden = JSON.parse(readFileSync(new URL("./brain-golden.json", import.meta.url), "utf8")) as Record<
  string,
  unknown
>;
const failure = outcome({ status: "failure" });

function ledgerOf(guardrails: CompiledGuardrail[], ticks: Outcome[][], alpha = 0.01): Ledger {
  const ledger = newLedger(guardrails, alpha, 1);
  ticks.forEach((outcomes, tick) => {
    recordAssigned(ledger, "candidate", "r1", tick, outcomes.length);
    for (const each of outcomes) recordOutcome(ledger, "candidate", "r1", tick, each);
  });
  return ledger;
}

describe("the verdict", () => {
  test("three failures in three ticks stop, two do not", () => {
    // brain-golden.json, threeFailures: 1.475844688, 3.954474752, 6.680333124 against ln(100) = 4.605.
    const verdicts = [1, 2, 3].map((n) => judge(ledgerOf([errorRate], Array<Outcome[]>(n).fill([failure]))));
    expect(verdicts.map(({ kind }) => kind)).toEqual(["allow", "allow", "stop"]);
    (golden.threeFailures as [boolean, number][]).forEach(([, logE], i) => {
      expect(Math.abs(verdicts[i]!.logE - logE)).toBeLessThanOrEqual(1e-9);
    });
  });

  test("a stop says why, where and on what evidence", () => {
    const ledger = ledgerOf([errorRate], [[outcome()], [failure, failure], [failure, failure, failure], [failure]]);
    const verdict = judge(ledger);
    expect(verdict).toMatchObject({
      kind: "stop",
      reason: "sla_breach",
      attribution: "undetermined",
      tick: 2,
      leading: "error_rate",
      threshold: Math.log(100),
    });
    // By hand: up to tick 2 there are 6 outcomes, 5 of them bad.
    expect(verdict.guardrails[0]).toMatchObject({
      guardrail: "error_rate",
      n: 6,
      k: 5,
      rate: 5 / 6,
      p0: 0.05,
      share: 1,
    });
    expect(verdict.logE).toBe(verdict.guardrails[0]!.logE);
    expect(verdict.peakLogE).toBe(verdict.logE);
  });

  test("an empty ledger is allowed, with the evidence that the start places", () => {
    const verdict = judge(newLedger(threeGuardrails, 0.01, 5));
    expect(verdict).toMatchObject({ kind: "allow", tick: null, threshold: Math.log(120) });
    // E starts at w0 = 0.7 in every guardrail, and so does the weighted mean.
    expect(verdict.logE).toBeCloseTo(Math.log(0.7), 12);
    expect(verdict.peakLogE).toBeCloseTo(Math.log(0.7), 12);
  });

  test("the evidence is what decisions store", () => {
    const verdict = judge(
      ledgerOf(threeGuardrails, [[outcome({ durationMs: 9_000, toolCalls: 3, toolErrors: 2 }), failure]]),
    );
    expect(verdict.guardrails.map((evidence) => GuardrailEvidence.parse(evidence))).toEqual(verdict.guardrails);
    expect(verdict.guardrails[2]!.k).toBe(0.666666);
  });

  test("the peak outlives the evidence", () => {
    const bad = ledgerOf([errorRate], [[failure, failure], Array<Outcome>(200).fill(outcome())]);
    const verdict = judge(bad);
    // stepDetector is checked against the golden file; one batch of two failures is the peak here.
    expect(verdict.peakLogE).toBeCloseTo(stepDetector(newDetector(0.05), 2, 2), 12);
    expect(verdict.logE).toBeLessThan(0);
  });

  test("evidence is the weighted sum over the automatic guardrails, and the heaviest leads", () => {
    const ledger = ledgerOf(threeGuardrails, [[outcome({ durationMs: 9_000 }), outcome({ durationMs: 9_000 })]]);
    const verdict = judge(ledger);
    const sum = verdict.guardrails.reduce((total, { share, logE }) => total + share * Math.exp(logE), 0);
    expect(verdict.logE).toBeCloseTo(Math.log(sum), 12);
    expect(verdict.leading).toBe("latency_p95_ms");
  });

  test("an observed guardrail gathers evidence and stops nothing", () => {
    const observed: CompiledGuardrail = { ...latency, mode: "observe", share: 0 };
    const slow = Array<Outcome>(100).fill(outcome({ durationMs: 9_000 }));
    const verdict = judge(ledgerOf([errorRate, observed], [slow]));
    expect(verdict.kind).toBe("allow");
    expect(verdict.leading).toBe("error_rate");
    expect(verdict.guardrails[1]!.logE).toBeGreaterThan(100);
  });

  test("a later stage brings its lump and needs its part of C", () => {
    const ledger = newLedger([errorRate], 0.01, 2);
    recordAssigned(ledger, "candidate", "r1", 0, 10);
    settleExcluded(ledger, "candidate", "r1", 0, 10);
    beginStage(ledger, 1);
    recordAssigned(ledger, "candidate", "r1", 1, 1);
    settleExcluded(ledger, "candidate", "r1", 1, 1);
    const verdict = judge(ledger);
    // By hand: E = W(10) + 0.05 after ten runs without evidence, W(10) = .7 + .3 (1 - 1/sqrt(1.005)).
    expect(verdict.logE).toBeCloseTo(Math.log(1.05 - 0.3 / Math.sqrt(1.005)), 12);
    expect(verdict.threshold).toBe(logThreshold(0.01, 2));
  });
});

describe("runs without an outcome", () => {
  const evidence = (record: (ledger: Ledger) => void) => {
    const ledger = newLedger(threeGuardrails, 0.01, 1);
    recordAssigned(ledger, "candidate", "r1", 0, 3);
    record(ledger);
    return judge(ledger);
  };

  test("pending runs count as good for every guardrail", () => {
    const verdict = evidence(() => {});
    expect(verdict.guardrails.map(({ n, k }) => [n, k])).toEqual([
      [3, 0],
      [3, 0],
      [3, 0],
    ]);
    expect(verdict.guardrails[0]!.logE).toBeCloseTo(stepDetector(newDetector(0.05), 3, 0), 12);
    expect(verdict.guardrails[2]!.logE).toBeCloseTo(stepDetector(newDetector(0.03), 3, 0), 12);
  });

  test("a missing run is bad for the error rate and says nothing elsewhere", () => {
    const verdict = evidence((ledger) => recordMissing(ledger, "candidate", "r1", 0, 3));
    expect(verdict.guardrails.map(({ n, k }) => [n, k])).toEqual([
      [3, 3],
      [0, 0],
      [0, 0],
    ]);
    expect(verdict.guardrails[0]!.logE).toBeCloseTo(stepDetector(newDetector(0.05), 3, 3), 12);
    expect(verdict.guardrails[1]!.logE).toBeCloseTo(Math.log(0.7), 12);
  });

  test("lost and excluded runs say nothing anywhere", () => {
    for (const record of [recordLost, settleExcluded]) {
      const verdict = evidence((ledger) => record(ledger, "candidate", "r1", 0, 3));
      expect(verdict.guardrails.map(({ n, k }) => [n, k])).toEqual([
        [0, 0],
        [0, 0],
        [0, 0],
      ]);
    }
  });

  test("restarts are paid by the runs assigned, also by those that are excluded or lost later", () => {
    const ledger = newLedger([errorRate], 0.01, 1);
    for (const [tick, n] of [
      [0, 50],
      [1, 2],
    ] as const) {
      recordAssigned(ledger, "candidate", "r1", tick, n);
      settleExcluded(ledger, "candidate", "r1", tick, n / 2);
      recordLost(ledger, "candidate", "r1", tick, n / 2);
    }
    // By hand: without evidence E is the weight placed by then, W(50) = 1 - .3 / sqrt(1.025).
    expect(judge(ledger).logE).toBeCloseTo(Math.log(1 - 0.3 / Math.sqrt(1.025)), 12);
  });
});

// Counts of any size, as a database could hold them: some judged, some of those bad, the rest pending, missing or lost.
const part = fc.integer({ min: 0, max: 1_000_000 });
const anyTick = fc.record({ good: part, bad: part, pending: part, missing: part, lost: part, excluded: part });
type AnyTick = { good: number; bad: number; pending: number; missing: number; lost: number; excluded: number };

/** A second stage begins at `stageTick`; `null` is a tick without any run. */
function ledgerOfCounts(ticks: (AnyTick | null)[], isDone: (tick: number) => boolean, stageTick = 2): Ledger {
  const ledger = newLedger(threeGuardrails, 0.01, 3);
  ticks.forEach((counts, tick) => {
    if (tick === stageTick) beginStage(ledger, tick);
    if (counts === null) return;
    const { good, bad, pending, missing, lost, excluded } = counts;
    const open = isDone(tick) ? 0 : pending;
    recordAssigned(ledger, "candidate", "r1", tick, good + bad + open + missing + lost + excluded);
    const { total, runtimes } = ledger.ticks.at(-1)!.arms.candidate;
    for (const recorded of [total, runtimes[0]!]) {
      Object.assign(recorded, { settled: good + bad + excluded, missing, lost });
      for (const each of recorded.guardrails) {
        each.judged = good + bad;
        each.bad = bad * 1_000_000;
        if (!each.bins) continue;
        each.hits = bad;
        each.bins.n[0] = good;
        each.bins.n[9] = bad;
        each.bins.sum[9] = bad * 1_000_000;
      }
    }
  });
  return ledger;
}

describe("properties", () => {
  test("evidence is never NaN, whatever the counts", () => {
    fc.assert(
      fc.property(fc.array(anyTick, { maxLength: 8 }), (ticks) => {
        const verdict = judge(ledgerOfCounts(ticks, () => false));
        const numbers = [
          verdict.logE,
          verdict.peakLogE,
          ...verdict.guardrails.flatMap(({ n, k, rate, logE }) => [n, k, rate, logE]),
        ];
        expect(numbers.every(Number.isFinite)).toBe(true);
      }),
    );
  });

  // Small counts around the thresholds, so that some stop early, some late and some never.
  const small = fc.integer({ min: 0, max: 12 });
  const smallTick = fc.record({
    good: fc.integer({ min: 0, max: 60 }),
    bad: fc.integer({ min: 0, max: 4 }),
    pending: small,
    missing: fc.integer({ min: 0, max: 1 }),
    lost: small,
    excluded: small,
  });

  test("freezing a prefix never changes the verdict, also in two steps and after JSON", () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(smallTick, { freq: 2 }), { maxLength: 14 }),
        fc.nat(15),
        fc.nat(15),
        fc.nat(15),
        (ticks, a, b, stageTick) => {
          const [first, second] = [Math.min(a, b), Math.max(a, b)];
          const whole = ledgerOfCounts(ticks, (tick) => tick <= second, stageTick);
          const before = judge(whole);
          const frozen = cloneLedger(whole);
          freezeThrough(frozen, first);
          expect(judge(frozen)).toEqual(before);
          freezeThrough(frozen, second);
          expect(judge(frozen)).toEqual(before);
          expect(judge(JSON.parse(JSON.stringify(frozen)) as Ledger)).toEqual(before);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("judging changes nothing", () => {
    fc.assert(
      fc.property(fc.array(smallTick, { maxLength: 8 }), (ticks) => {
        const ledger = ledgerOfCounts(ticks, () => false);
        const before = JSON.stringify(ledger);
        judge(ledger);
        expect(JSON.stringify(ledger)).toBe(before);
      }),
    );
  });

  test("pending counted as good never exceeds the evidence of the completed stream", () => {
    const run = fc.record({ end: fc.constantFrom("bad", "good", "cancelled"), isReported: fc.boolean() });
    fc.assert(
      fc.property(fc.array(fc.array(run, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 8 }), (ticks) => {
        const seen = newLedger(threeGuardrails, 1e-12, 1);
        const completed = newLedger(threeGuardrails, 1e-12, 1);
        ticks.forEach((runs, tick) => {
          recordAssigned(seen, "candidate", "r1", tick, runs.length);
          recordAssigned(completed, "candidate", "r1", tick, runs.length);
          for (const { end, isReported } of runs) {
            const fields = {
              bad: { status: "failure", durationMs: 5_000, toolCalls: 3, toolErrors: 1 },
              good: { status: "success", durationMs: 100, toolCalls: 3 },
              cancelled: { status: "cancelled" },
            } as const satisfies Record<string, Partial<Outcome>>;
            if (isReported) recordOutcome(seen, "candidate", "r1", tick, outcome(fields[end]));
            recordOutcome(completed, "candidate", "r1", tick, outcome(fields[end]));
          }
          expect(judge(seen).logE).toBeLessThanOrEqual(judge(completed).logE + 1e-9);
        });
      }),
    );
  });
});

describe("failures that report fast and successes that report late", () => {
  // BRAIN 3.7 (a): 20 starts a second, failures after Exp(1 s), successes after Exp(30 s). There, at 4 % the ledger stops
  // in 0 % of runs and the arrival order in 75 %; at 15 % and 30 % the median stop comes after 8 s and 3 s.
  const STARTS_PER_SECOND = 20;

  /** Seconds until the ledger stops; `null` where it does not. */
  function stopsAfterSeconds(rng: Rng, errorProbability: number, seconds: number): number | null {
    const ledger = newLedger([errorRate], 0.01, 1);
    const reports: { at: number; tick: number; outcome: Outcome }[][] = [];
    for (let second = 0; second < seconds; second++) {
      recordAssigned(ledger, "candidate", "r1", second, STARTS_PER_SECOND);
      for (let run = 0; run < STARTS_PER_SECOND; run++) {
        const isBad = nextIsBad(rng, errorProbability);
        const at = second + run / STARTS_PER_SECOND + nextExponential(rng, isBad ? 1 : 30);
        const due = reports[Math.floor(at)] ?? [];
        reports[Math.floor(at)] = due;
        due.push({ at, tick: second, outcome: isBad ? failure : outcome() });
      }
      for (const report of reports[second] ?? []) recordOutcome(ledger, "candidate", "r1", report.tick, report.outcome);
      if (judge(ledger).kind === "stop") return second + 1;
    }
    return null;
  }

  /** The same stream judged in the order in which it is reported, which is what the ledger avoids. */
  function stopsInArrivalOrder(rng: Rng, errorProbability: number, seconds: number): boolean {
    const reports = Array.from({ length: STARTS_PER_SECOND * seconds }, (_, run) => {
      const isBad = nextIsBad(rng, errorProbability);
      return { at: run / STARTS_PER_SECOND + nextExponential(rng, isBad ? 1 : 30), isBad };
    });
    const detector = newDetector(0.05);
    const arrived = reports.filter(({ at }) => at < seconds).sort((a, b) => a.at - b.at);
    return arrived.some(({ isBad }) => stepDetector(detector, 1, isBad ? 1 : 0) >= Math.log(100));
  }

  const seeds = Array.from({ length: 25 }, (_, i) => 6_000_000 + i);

  test("a healthy version is not stopped, though the order of arrival would stop it", () => {
    expect(seeds.filter((seed) => stopsAfterSeconds(xoshiro128(seed), 0.04, 120) !== null)).toEqual([]);
    const naive = seeds.filter((seed) => stopsInArrivalOrder(xoshiro128(seed), 0.04, 120));
    expect(naive.length).toBeGreaterThan(seeds.length / 2);
  });

  test.each([
    [0.15, 9],
    [0.3, 4],
  ])(
    "a version with an error rate of %s is stopped after %s seconds, in the median",
    (errorProbability, limitSeconds) => {
      const delays = seeds.map(
        (seed) => stopsAfterSeconds(xoshiro128(seed), errorProbability, 60) ?? Number.POSITIVE_INFINITY,
      );
      expect(delays.sort((a, b) => a - b)[12]).toBeLessThanOrEqual(limitSeconds);
    },
  );
});

test("tool failures that come together in a run count as that one run", () => {
  // Four of 20 runs lose all ten of their calls. brain-golden.json, p0 = .03: 5 of 20 stop; 17 of 200 calls would.
  const runs = Array.from({ length: 20 }, (_, i) => outcome({ toolCalls: 10, toolErrors: i % 5 === 0 ? 10 : 0 }));
  const verdict = judge(ledgerOf([toolFailure], [runs]));
  expect(verdict.kind).toBe("allow");
  expect(verdict.guardrails[0]).toMatchObject({ n: 20, k: 4 });
  expect(stepDetector(newDetector(0.03), 200, 40)).toBeGreaterThan(Math.log(100));
});
