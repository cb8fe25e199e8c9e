import {
  type Arm,
  addCounts,
  type CompiledGuardrail,
  type CountsRow,
  cloneLedger,
  freezeThrough,
  judge,
  type Ledger,
  MAX_RUNTIMES,
  newLedger,
  recordAssigned,
  recordOutcome,
  rowsOf,
  SHARED_BUCKETS,
  type Verdict,
} from "@flagback/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nextIsBad, xoshiro128 } from "../../bench/src/rng.ts";
import { errorRate, errorRateVsStable, outcome, rowOf, toolFailure } from "./support-brain.ts";

/** Rates of failure of each runtime's candidate runs, `perTick` of them in each tick. */
function fleet(rates: readonly number[], ticks: number, seed: number, perTick = 2): Ledger {
  const rng = xoshiro128(seed);
  const ledger = newLedger([errorRate], 0.01, 1);
  for (let tick = 0; tick < ticks; tick++) {
    rates.forEach((rate, r) => {
      let bad = 0;
      for (let i = 0; i < perTick; i++) if (nextIsBad(rng, rate)) bad += 1;
      addCounts(ledger, rowOf("candidate", `runtime-${r}`, tick, perTick, bad));
    });
  }
  return ledger;
}

const liarAmong = (size: number, liar: number, honest: number) => [liar, ...Array<number>(size - 1).fill(honest)];

describe("one runtime can't decide alone", () => {
  test.each([2, 3, 10, 50])("one of %i that sends only failures never stops a healthy version", (size) => {
    const verdicts = [1, 2, 3, 4, 5, 6].map((seed) => judge(fleet(liarAmong(size, 1, 0.01), 120, seed)));
    expect(verdicts.filter(({ kind }) => kind === "stop")).toEqual([]);
  });

  test("a stop that one runtime alone would cause is held back, and the verdict says by whom", () => {
    const verdict = judge(fleet(liarAmong(3, 1, 0), 30, 1));
    expect(verdict).toMatchObject({ kind: "allow", heldBackBy: "runtime-0", leading: "error_rate" });
    expect(verdict.logE).toBeGreaterThan(verdict.threshold);
    // All failures are its own; what the others show is less than the weight placed at the start.
    expect(verdict.carriers).toEqual([{ runtime: "runtime-0", share: 1, logEWithout: expect.any(Number) }]);
    expect(verdict.carriers[0]!.logEWithout).toBeLessThan(Math.log(0.7));
  });

  test.each([2, 3, 10, 50])("a regression spread over %i runtimes stops, of any size", (size) => {
    for (const rate of [0.15, 0.3, 1]) {
      expect(judge(fleet(Array<number>(size).fill(rate), 400, 11)).kind).toBe("stop");
    }
  });

  test.each([3, 10, 50])("one of %i that sends only successes does not prevent a stop", (size) => {
    // The bound: what is left after leaving out an honest one is (size - 2) / (size - 1) of the rate, here 0.15 or more.
    expect(judge(fleet(liarAmong(size, 0, 0.3), 400, 5)).kind).toBe("stop");
  });

  test("of two runtimes that contradict each other nobody knows which one lies", () => {
    expect(judge(fleet([1, 0], 400, 5))).toMatchObject({ kind: "allow", heldBackBy: "runtime-0" });
  });

  test("a runtime that carries the alias by itself decides", () => {
    expect(judge(fleet([1], 3, 1)).kind).toBe("stop");
  });

  test("a runtime that has been gone for ten minutes no longer has to confirm", () => {
    const ledger = newLedger([errorRate], 0.01, 1);
    addCounts(ledger, rowOf("candidate", "before-the-restart", 0, 10, 0));
    const failures = (tick: number) => addCounts(ledger, rowOf("candidate", "after-it", tick, 5, 5));
    failures(100);
    expect(judge(ledger)).toMatchObject({ kind: "allow", heldBackBy: "after-it" });
    failures(600);
    expect(judge(ledger)).toMatchObject({ kind: "stop", tick: 600 });
  });

  test("a critical event stops whoever reports it", () => {
    const leak: CompiledGuardrail = {
      name: "safety.pii_leak",
      kind: "critical",
      p0: 0,
      field: "pii_leak",
      mode: "automatic",
      action: "rollback",
      share: 0,
    };
    const ledger = newLedger([errorRate, leak], 0.01, 1);
    for (const runtime of ["a", "b", "c"]) {
      recordAssigned(ledger, "candidate", runtime, 0, 5);
      recordOutcome(ledger, "candidate", runtime, 0, outcome());
    }
    expect(judge(ledger).kind).toBe("allow");
    recordOutcome(ledger, "candidate", "b", 0, outcome({ safetyFlags: ["other", "pii_leak"] }));
    expect(judge(ledger)).toMatchObject({ kind: "stop", reason: "rollback_required", leading: "safety.pii_leak" });
  });
});

const guardrails = [
  { ...errorRate, share: 0.5 },
  { ...errorRateVsStable, share: 0.3 },
  { ...toolFailure, share: 0.2 },
];

const item = fc.record({
  arm: fc.constantFrom<Arm>("candidate", "candidate", "stable"),
  runtime: fc.constantFrom("a", "b", "c"),
  tick: fc.nat(6),
  status: fc.constantFrom("failure", "success", "cancelled"),
  toolErrors: fc.nat(3),
});
const items = fc.array(item, { minLength: 1, maxLength: 60 });

function recorded(
  list: readonly (typeof items extends fc.Arbitrary<infer T> ? T : never)[number][],
  alpha: number,
): Ledger {
  const ledger = newLedger(guardrails, alpha, 1);
  for (const { arm, runtime, tick, status, toolErrors } of list) {
    recordAssigned(ledger, arm, runtime, tick, 1);
    recordOutcome(ledger, arm, runtime, tick, outcome({ status, toolCalls: 3, toolErrors }));
  }
  return ledger;
}

function rows(ledger: Ledger): CountsRow[] {
  return ledger.ticks.flatMap(({ tick }) => rowsOf(ledger, tick));
}

function ledgerOfRows(list: readonly CountsRow[], alpha: number): Ledger {
  const ledger = newLedger(guardrails, alpha, 1);
  for (const row of list) addCounts(ledger, row);
  return ledger;
}

function expectClose(actual: Verdict, expected: Verdict): void {
  expect(actual.kind).toBe(expected.kind);
  expect(actual.tick).toBe(expected.tick);
  expect(Math.abs(actual.logE - expected.logE)).toBeLessThanOrEqual(1e-12);
}

describe("properties of the rule", () => {
  test("what the others show is what a ledger without the runtime holds", () => {
    fc.assert(
      fc.property(items, fc.nat(6), (list, frozen) => {
        // So high an alpha that evidence is asked for in most cases.
        const ledger = recorded(list, 0.9);
        const all = rows(ledger);
        if (judge(ledger).kind !== "stop") freezeThrough(ledger, frozen);
        const verdict = judge(ledger);
        for (const { runtime, logEWithout } of verdict.carriers) {
          const rest = all.filter((row) => row.runtime !== runtime && row.tick <= verdict.tick!);
          // A tick without anybody else still ends the replay where the verdict was made.
          const last = rest.some(({ tick }) => tick === verdict.tick);
          if (!last) continue;
          expect(Math.abs(judge(ledgerOfRows(rest, 1e-300)).logE - logEWithout)).toBeLessThanOrEqual(1e-12);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("it only removes stops, or makes them later", () => {
    fc.assert(
      fc.property(items, (list) => {
        const strict = judge(recorded(list, 0.5));
        const lenient = judge(
          recorded(
            list.map((each) => ({ ...each, runtime: "a" })),
            0.5,
          ),
        );
        if (strict.kind !== "stop") return;
        expect(lenient.kind).toBe("stop");
        expect(lenient.tick!).toBeLessThanOrEqual(strict.tick!);
      }),
      { numRuns: 300 },
    );
  });

  test("freezing changes neither the verdict nor what the others show, also after JSON", () => {
    fc.assert(
      fc.property(items, fc.nat(8), fc.nat(8), (list, a, b) => {
        const ledger = recorded(list, 0.5);
        const before = judge(ledger);
        freezeThrough(ledger, Math.min(a, b));
        expect(judge(ledger)).toEqual(before);
        const stored = JSON.parse(JSON.stringify(ledger)) as Ledger;
        freezeThrough(stored, Math.max(a, b));
        expect(judge(stored)).toEqual(before);
        expectClose(judge(cloneLedger(stored)), before);
      }),
      { numRuns: 300 },
    );
  });

  test("any order and any split over replicas gives the same ledger and the same verdict, bit by bit", () => {
    const shuffled = items.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length })),
    );
    fc.assert(
      fc.property(shuffled, fc.nat(60), ([list, other], cut) => {
        const whole = recorded(list, 0.3);
        const split = ledgerOfRows(
          [...rows(recorded(other.slice(0, cut), 0.3)), ...rows(recorded(other.slice(cut), 0.3))],
          0.3,
        );
        expect(JSON.stringify(split)).toBe(JSON.stringify(whole));
        expect(JSON.stringify(judge(split))).toBe(JSON.stringify(judge(whole)));
      }),
    );
  });
});

describe("more runtimes than the limit", () => {
  test("the prefix keeps a bounded number of states, and a liar that shares one still can't decide", () => {
    const ledger = newLedger([errorRate], 0.01, 1);
    for (let r = 0; r < MAX_RUNTIMES + 200; r++) {
      addCounts(ledger, rowOf("candidate", `runtime-${r}`, Math.floor(r / 50), 4, 0));
    }
    freezeThrough(ledger, 9);
    expect(ledger.prefix.runtimes.length).toBe(MAX_RUNTIMES + SHARED_BUCKETS);
    addCounts(ledger, rowOf("candidate", "late-liar", 10, 400, 400));
    const verdict = judge(ledger);
    expect(verdict).toMatchObject({ kind: "allow", heldBackBy: expect.stringMatching(/^#\d+$/) });
    freezeThrough(ledger, 12);
    expect(judge(ledger)).toEqual(verdict);
  });
});
