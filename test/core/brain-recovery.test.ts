import { readFileSync } from "node:fs";
import { HEALTHY_LOG_E, isProvenHealthy, reverseLogE } from "@flagback/core";
import fc from "fast-check";
import { expect, test } from "vitest";

test("71 clean outcomes prove a 5 % guardrail kept, 70 do not", () => {
  const { recovery_all_good_outcomes_needed: needed } = JSON.parse(
    readFileSync(new URL("./brain-golden.json", import.meta.url), "utf8"),
  ) as { recovery_all_good_outcomes_needed: number };
  expect(needed).toBe(71);
  expect(isProvenHealthy(0.05, needed, 0)).toBe(true);
  expect(isProvenHealthy(0.05, needed - 1, 0)).toBe(false);
});

test("a bad outcome is evidence against health", () => {
  // By hand: one bad outcome multiplies the bets by .01, .1, .3 and .6, which average .2525.
  expect(reverseLogE(0.05, 1, 1)).toBeCloseTo(Math.log(0.2525), 12);
  expect(reverseLogE(0.05, 0, 0)).toBeCloseTo(0, 12);
});

test("outcomes at the threshold prove nothing", () => {
  for (const n of [100, 1_000, 10_000]) expect(reverseLogE(0.05, n, n * 0.05)).toBeLessThan(HEALTHY_LOG_E);
});

test("the proof is a number for any counts", () => {
  const count = fc.integer({ min: 0, max: 1_000_000 });
  fc.assert(
    fc.property(fc.double({ min: 1e-9, max: 1 - 1e-9, noNaN: true }), count, count, (p0, good, bad) => {
      expect(Number.isFinite(reverseLogE(p0, good + bad, bad))).toBe(true);
    }),
  );
});
