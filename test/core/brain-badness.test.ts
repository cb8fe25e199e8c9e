import { badnessOf, type CompiledGuardrail, countsAgainstVersion, isHit } from "@flagback/core";
import type { Outcome } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { errorRate, latency, outcome, toolFailure } from "./support-brain.ts";

const BAD = 1_000_000;
const everyGuardrail = [errorRate, latency, toolFailure];
/** Bad for every guardrail, so that an exclusion shows. */
const terrible: Partial<Outcome> = { status: "failure", durationMs: 60_000, toolCalls: 2, toolErrors: 2 };

describe("outcomes that say nothing about the version", () => {
  test.each<[string, Partial<Outcome>]>([
    ["a blocked run", { status: "blocked" }],
    ["a run that got the caller's default", { isDefault: true }],
    ["a drill", { drill: true }],
    ["a run with blocked writes", { blockedWrites: 1 }],
    ["an error of the client's making", { errorOrigin: "client" }],
    ["an error of a policy's making", { errorOrigin: "policy" }],
  ])("%s is excluded everywhere", (_, fields) => {
    const excluded = outcome({ ...terrible, ...fields });
    expect(everyGuardrail.map((guardrail) => badnessOf(guardrail, excluded))).toEqual([null, null, null]);
    expect(countsAgainstVersion(excluded)).toBe(false);
  });

  test("the same run counts everywhere without such a mark", () => {
    const judged = outcome({ ...terrible, errorOrigin: "model", isDefault: false, drill: false, blockedWrites: 0 });
    expect(everyGuardrail.map((guardrail) => badnessOf(guardrail, judged))).toEqual([BAD, BAD, BAD]);
    expect(countsAgainstVersion(judged)).toBe(true);
  });

  test("a cancelled run is excluded, but a hang that was cancelled counts for latency", () => {
    const cancelled = (durationMs?: number) =>
      everyGuardrail.map((guardrail) =>
        badnessOf(guardrail, outcome({ ...terrible, status: "cancelled", durationMs })),
      );
    expect(cancelled()).toEqual([null, null, null]);
    expect(cancelled(1_800)).toEqual([null, null, null]);
    expect(cancelled(1_801)).toEqual([null, BAD, null]);
    expect(countsAgainstVersion(outcome({ status: "cancelled" }))).toBe(false);
  });
});

describe("the error rate", () => {
  test("failures and timeouts are errors, success and a hand-over to a person are not", () => {
    const badness = (status: Outcome["status"]) => badnessOf(errorRate, outcome({ status }));
    expect(badness("failure")).toBe(BAD);
    expect(badness("timeout")).toBe(BAD);
    expect(badness("escalated")).toBe(0);
    expect(badness("success")).toBe(0);
  });
});

describe("latency", () => {
  test("a run is bad when it takes longer than the limit, not when it takes just as long", () => {
    expect(badnessOf(latency, outcome({ durationMs: 1_800 }))).toBe(0);
    expect(badnessOf(latency, outcome({ durationMs: 1_800.5 }))).toBe(BAD);
    expect(badnessOf(latency, outcome({ status: "failure", durationMs: 20 }))).toBe(0);
  });

  test("a run without a duration is bad if it timed out and is left to the error rate otherwise", () => {
    expect(badnessOf(latency, outcome({ status: "timeout" }))).toBe(BAD);
    expect(badnessOf(latency, outcome({ status: "failure" }))).toBeNull();
    expect(badnessOf(latency, outcome({ status: "success" }))).toBeNull();
  });
});

describe("tool failures", () => {
  test("a run counts by the fraction of its calls that failed, in millionths rounded down", () => {
    expect(badnessOf(toolFailure, outcome({ toolCalls: 4, toolErrors: 1 }))).toBe(250_000);
    expect(badnessOf(toolFailure, outcome({ toolCalls: 3, toolErrors: 2 }))).toBe(666_666);
    expect(badnessOf(toolFailure, outcome({ toolCalls: 3 }))).toBe(0);
  });

  test("a run without tool calls says nothing", () => {
    expect(badnessOf(toolFailure, outcome({ toolCalls: 0 }))).toBeNull();
    expect(badnessOf(toolFailure, outcome({ status: "failure" }))).toBeNull();
  });

  test("badness is an integer from 0 to a million, and the exact quotient rounded down", () => {
    const calls = fc.integer({ min: 1, max: 1_000_000 });
    fc.assert(
      fc.property(calls, fc.nat(1_000_000), (toolCalls, errors) => {
        const toolErrors = Math.min(errors, toolCalls);
        const expected = Number((BigInt(toolErrors) * 1_000_000n) / BigInt(toolCalls));
        expect(badnessOf(toolFailure, outcome({ toolCalls, toolErrors }))).toBe(expected);
      }),
    );
  });
});

describe("numbers that runs report", () => {
  const of = (fields: Pick<CompiledGuardrail, "kind"> & Partial<CompiledGuardrail>): CompiledGuardrail => ({
    ...errorRate,
    ...fields,
  });
  const quality = of({ kind: "quality", p0: 0.2, limit: 0.8 });
  const cost = of({ kind: "cost", p0: 0.12, limit: 0.12, cap: 1 });
  const toxic = of({ kind: "safety", p0: 0.002, field: "toxic" });
  const steps = of({ kind: "custom_mean", p0: 0.25, limit: 10, cap: 40, field: "steps" });
  const stepsP95 = of({ kind: "custom_quantile", p0: 0.05, limit: 40, field: "steps" });
  const budget = of({ kind: "budget", p0: 0, limit: 200 });

  test.each<[string, CompiledGuardrail, Partial<Outcome>, number | null, boolean | null]>([
    // By hand: 1 - 0.7, in millionths; 0.7 itself is no double, and the badness is not rounded up.
    ["a quality", quality, { quality: 0.7 }, 300_000, true],
    ["a quality at its least", quality, { quality: 0.8 }, 200_000, false],
    ["a perfect quality", quality, { quality: 1 }, 0, false],
    ["no quality", quality, {}, null, null],
    ["a cost", cost, { costUsd: 0.25 }, 250_000, true],
    ["a cost above the cap", cost, { costUsd: 30 }, BAD, true],
    ["no cost", cost, {}, null, null],
    ["a flag", toxic, { safetyFlags: ["rude", "toxic"] }, BAD, true],
    ["another flag", toxic, { safetyFlags: ["rude"] }, 0, false],
    ["no flags", toxic, {}, 0, false],
    ["a custom number", steps, { metrics: { steps: 30 } }, 750_000, true],
    ["a negative custom number", steps, { metrics: { steps: -4 } }, 0, false],
    ["a custom number that is none", steps, { metrics: { steps: Number.NaN } }, null, null],
    ["another custom number", steps, { metrics: { other: 30 } }, null, null],
    ["a name of the language's own", of({ ...steps, field: "constructor" }), { metrics: { steps: 1 } }, null, null],
    ["a custom number at its limit", stepsP95, { metrics: { steps: 40 } }, 0, false],
    ["a custom number above its limit", stepsP95, { metrics: { steps: 40.5 } }, BAD, true],
    ["money of a failed run", budget, { costUsd: 1.5, status: "failure" }, 1_500_000, true],
    ["money of a cancelled run", budget, { costUsd: 1.5, status: "cancelled" }, 1_500_000, true],
    ["money of a drill", budget, { costUsd: 1.5, drill: true }, null, null],
  ])("%s counts by its size", (_, guardrail, fields, badness, isBad) => {
    expect(badnessOf(guardrail, outcome(fields))).toBe(badness);
    expect(isHit(guardrail, outcome(fields))).toBe(isBad);
  });

  test("a cancelled run says nothing about any of them", () => {
    const cancelled = outcome({
      status: "cancelled",
      quality: 0,
      costUsd: 9,
      safetyFlags: ["toxic"],
      metrics: { steps: 99 },
    });
    for (const guardrail of [quality, cost, toxic, steps, stepsP95]) expect(badnessOf(guardrail, cancelled)).toBeNull();
  });

  test("what is compared with stable is whether a run was bad, not by how much", () => {
    const relative = { relative: { maxOddsRatio: 1.5, floor: 0.01 } };
    expect(badnessOf({ ...quality, ...relative }, outcome({ quality: 0.7 }))).toBe(BAD);
    expect(badnessOf({ ...toolFailure, ...relative }, outcome({ toolCalls: 9, toolErrors: 1 }))).toBe(BAD);
    expect(badnessOf({ ...toolFailure, ...relative }, outcome({ toolCalls: 9 }))).toBe(0);
  });
});
