/**
 * How many runs a guardrail needs before it stops a candidate that goes wrong: what a policy can do, said before it has to.
 */
import type { Policy } from "@flagback/schemas";
import { type CompiledGuardrail, isStatistical } from "./compiled.ts";
import { logThreshold, newDetector, stepDetector } from "./detector.ts";

/** Nobody waits for more. */
const MAX_RUNS = 20_000;

/**
 * Runs until this guardrail alone stops a candidate of which this fraction of runs is bad, by the mean of the evidence; `null`
 * where it takes more than anybody waits for, or what it compares with or adds up is no rate of the candidate alone.
 */
export function runsToStop(
  guardrail: Pick<CompiledGuardrail, "kind" | "p0" | "relative" | "share">,
  badRate: number,
  { alpha, stages }: Pick<Policy, "alpha" | "stages">,
): number | null {
  if (guardrail.kind === "critical") return badRate > 0 ? Math.ceil(1 / badRate) : null;
  if (!isStatistical(guardrail) || guardrail.relative !== undefined || guardrail.share <= 0) return null;
  const needed = logThreshold(alpha, stages.length) - Math.log(guardrail.share);
  const detector = newDetector(guardrail.p0);
  for (let runs = 1; runs <= MAX_RUNS; runs++) if (stepDetector(detector, 1, badRate) >= needed) return runs;
  return null;
}
