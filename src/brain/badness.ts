/**
 * What an outcome says about a guardrail: its badness, or nothing (BRAIN 2.1, DESIGN 11).
 */
import type { Outcome } from "@flagback/schemas";
import type { CompiledGuardrail } from "./compiled.ts";
import { MILLIONTHS } from "./detector.ts";

const GOOD = 0;
const BAD = MILLIONTHS;
/** A dollar, in the unit that budgets count in. */
export const MICRODOLLARS = 1_000_000;

/** Why a run says nothing about its version. Each class is compared with stable's, so that failure can't hide in one. */
export const EXCLUSIONS = ["cancelled", "blocked", "client", "policy", "isDefault"] as const;
export type Exclusion = (typeof EXCLUSIONS)[number];

/**
 * Whether an outcome can count against the version it ran on. These never do: a caller's default, a drill, a blocked run,
 * a run with blocked writes (what it did is what the kill switch made of it), an error of the client's or a policy's
 * making, a cancelled run. One exception is {@link badnessOf}'s: a cancelled run that lasted longer than a latency
 * guardrail's limit counts for that guardrail, so that hangs don't hide.
 */
export function countsAgainstVersion(outcome: Outcome): boolean {
  return outcome.status !== "cancelled" && isOfTheVersion(outcome);
}

/** The class that an outcome is excluded in, the first that applies; `null` for one that counts, and for a drill. */
export function exclusionOf(outcome: Outcome): Exclusion | null {
  if (outcome.drill) return null;
  if (outcome.isDefault) return "isDefault";
  if (outcome.status === "blocked" || (outcome.blockedWrites ?? 0) > 0) return "blocked";
  if (outcome.errorOrigin === "client" || outcome.errorOrigin === "policy") return outcome.errorOrigin;
  return outcome.status === "cancelled" ? "cancelled" : null;
}

/**
 * Badness in integer millionths, rounded down, 0 to 1 000 000; `null` where the outcome says nothing about the guardrail.
 * A budget is no badness: its number is the run's cost in microdollars, rounded down. Money is spent whatever came of the
 * run, so all outcomes count there but drills and callers' defaults.
 */
export function badnessOf(guardrail: CompiledGuardrail, outcome: Outcome): number | null {
  if (guardrail.kind === "budget") return spentBy(outcome);
  if (!isOfTheVersion(outcome)) return null;
  if (guardrail.kind === "error_rate") return errorBadness(outcome);
  if (guardrail.kind === "latency") return latencyBadness(outcome, guardrail.limitMs ?? Number.POSITIVE_INFINITY);
  if (outcome.status === "cancelled") return null;
  if (guardrail.relative !== undefined) return hit(isHit(guardrail, outcome));
  switch (guardrail.kind) {
    case "tool_failure":
      return toolBadness(outcome);
    case "quality":
      return outcome.quality === undefined ? null : BAD - Math.ceil(outcome.quality * BAD);
    case "cost":
      return partOfCap(outcome.costUsd, guardrail);
    case "custom_mean":
      return partOfCap(metricOf(guardrail, outcome), guardrail);
    case "safety":
    case "critical":
    case "custom_quantile":
      return hit(isHit(guardrail, outcome));
  }
}

/**
 * Whether a run is bad where it can only be that or not: what is compared with stable. `null` where the outcome says
 * nothing. Of a mean, a value above the mean allowed is a hit; of tool calls, any that failed.
 */
export function isHit(guardrail: CompiledGuardrail, outcome: Outcome): boolean | null {
  const { kind, field = "", limit = Number.POSITIVE_INFINITY } = guardrail;
  switch (kind) {
    case "error_rate":
    case "latency":
    case "budget": {
      const badness = badnessOf(guardrail, outcome);
      return badness === null ? null : badness > 0;
    }
    case "tool_failure":
      return (outcome.toolCalls ?? 0) === 0 ? null : (outcome.toolErrors ?? 0) > 0;
    case "quality":
      return outcome.quality === undefined ? null : outcome.quality < limit;
    case "cost":
      return outcome.costUsd === undefined ? null : outcome.costUsd > limit;
    case "custom_mean":
    case "custom_quantile": {
      const value = metricOf(guardrail, outcome);
      return value === undefined ? null : value > limit;
    }
    case "safety":
    case "critical":
      return outcome.safetyFlags?.includes(field) ?? false;
  }
}

function isOfTheVersion(outcome: Outcome): boolean {
  const exclusion = exclusionOf(outcome);
  return !outcome.drill && (exclusion === null || exclusion === "cancelled");
}

function errorBadness(outcome: Outcome): number | null {
  switch (outcome.status) {
    case "failure":
    case "timeout":
      return BAD;
    // An escalation hands the run over to a person, which is what an agent in doubt should do.
    case "escalated":
    case "success":
      return GOOD;
    case "cancelled":
    case "blocked":
      return null;
  }
}

function latencyBadness(outcome: Outcome, limitMs: number): number | null {
  const { durationMs, status } = outcome;
  if (durationMs === undefined) return status === "timeout" ? BAD : null;
  if (durationMs > limitMs) return BAD;
  // A run cancelled within the limit might still have exceeded it.
  return status === "cancelled" ? null : GOOD;
}

function toolBadness(outcome: Outcome): number | null {
  const calls = outcome.toolCalls ?? 0;
  if (calls === 0) return null;
  return Math.min(BAD, Math.floor(((outcome.toolErrors ?? 0) * MILLIONTHS) / calls));
}

/** Capping lowers the mean only. Numbers below 0 count as 0, so a mean is for numbers that are never negative. */
function partOfCap(value: number | undefined, { cap = 1 }: CompiledGuardrail): number | null {
  if (value === undefined) return null;
  return Math.floor((Math.min(Math.max(value, 0), cap) * MILLIONTHS) / cap);
}

/** Not a property of the language's own, and not NaN: no such number may reach a counter. */
function metricOf({ field = "" }: CompiledGuardrail, { metrics }: Outcome): number | undefined {
  const value = metrics !== undefined && Object.hasOwn(metrics, field) ? metrics[field] : undefined;
  return Number.isNaN(value) ? undefined : value;
}

function spentBy({ costUsd, drill, isDefault }: Outcome): number | null {
  return costUsd === undefined || drill || isDefault ? null : Math.floor(costUsd * MICRODOLLARS);
}

function hit(value: boolean | null): number | null {
  return value === null ? null : value ? BAD : GOOD;
}
