import { Outcome } from "@flagback/schemas";
import { expect, test } from "vitest";

const outcome = { runId: "r", alias: "support-agent", version: "support-agent@1", status: "success" };

function keys(length: number, value: unknown): Record<string, unknown> {
  return Object.fromEntries(Array.from({ length }, (_, i) => [`key${i}`, value]));
}

/** Where the outcome is wrong, as paths. */
function wrongFields(fields: Record<string, unknown>): string[] {
  const parsed = Outcome.safeParse({ ...outcome, ...fields });
  return parsed.success ? [] : parsed.error.issues.map(({ path }) => path.join("."));
}

test.each<[string, Record<string, unknown>, string]>([
  ["a duration that is no number", { durationMs: Number.NaN }, "durationMs"],
  ["a negative duration", { durationMs: -1 }, "durationMs"],
  ["a duration without end", { durationMs: Number.POSITIVE_INFINITY }, "durationMs"],
  ["more tool errors than tool calls", { toolCalls: 2, toolErrors: 3 }, "toolErrors"],
  ["half a tool call", { toolCalls: 0.5 }, "toolCalls"],
  ["negative tool errors", { toolCalls: 1, toolErrors: -1 }, "toolErrors"],
  ["a quality above 1", { quality: 1.1 }, "quality"],
  ["a quality below 0", { quality: -0.1 }, "quality"],
  ["a quality that is no number", { quality: Number.NaN }, "quality"],
  ["a negative cost", { costUsd: -1 }, "costUsd"],
  ["a cost that is no number", { costUsd: Number.NaN }, "costUsd"],
  ["a custom number that is none", { metrics: { steps: Number.NaN } }, "metrics.steps"],
  ["more custom numbers than 64", { metrics: keys(65, 1) }, "metrics"],
  ["more attributes than 16", { attributes: keys(17, "x") }, "attributes"],
  ["a custom number without end", { metrics: { steps: Number.POSITIVE_INFINITY } }, "metrics.steps"],
])("%s is refused, and the field is named", (_, fields, field) => {
  expect(wrongFields(fields)).toEqual([field]);
});

test("numbers at their limits are accepted", () => {
  expect(wrongFields({ durationMs: 0, toolCalls: 2, toolErrors: 2, quality: 0, costUsd: 0 })).toEqual([]);
  expect(wrongFields({ quality: 1, metrics: { steps: -3.5 } })).toEqual([]);
  expect(wrongFields({ attributes: keys(16, ""), metrics: keys(64, 0) })).toEqual([]);
});
