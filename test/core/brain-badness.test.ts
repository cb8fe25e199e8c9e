import { badnessOf, countsAgainstVersion } from "@flagback/core";
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
