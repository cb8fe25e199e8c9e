/**
 * What an outcome says about a guardrail: its badness, or nothing (BRAIN 2.1, DESIGN 11).
 */
import type { Outcome } from "@flagback/schemas";
import { MILLIONTHS } from "./detector.ts";
import type { CompiledGuardrail } from "./guardrails.ts";

const GOOD = 0;
const BAD = MILLIONTHS;

/**
 * Whether an outcome can count against the version it ran on. These never do: a caller's default, a drill, a blocked run,
 * a run with blocked writes (what it did is what the kill switch made of it), an error of the client's or a policy's
 * making, a cancelled run. One exception is {@link badnessOf}'s: a cancelled run that lasted longer than a latency
 * guardrail's limit counts for that guardrail, so that hangs don't hide.
 */
export function countsAgainstVersion(outcome: Outcome): boolean {
  return outcome.status !== "cancelled" && isOfTheVersion(outcome);
}

/** Badness in integer millionths, rounded down, 0 to 1 000 000; `null` where the outcome says nothing about the guardrail. */
export function badnessOf(guardrail: CompiledGuardrail, outcome: Outcome): number | null {
  if (!isOfTheVersion(outcome)) return null;
  switch (guardrail.kind) {
    case "error_rate":
      return errorBadness(outcome);
    case "latency":
      return latencyBadness(outcome, guardrail.limitMs ?? Number.POSITIVE_INFINITY);
    case "tool_failure":
      return toolBadness(outcome);
  }
}

function isOfTheVersion(outcome: Outcome): boolean {
  if (outcome.isDefault || outcome.drill || outcome.status === "blocked") return false;
  if ((outcome.blockedWrites ?? 0) > 0) return false;
  return outcome.errorOrigin !== "client" && outcome.errorOrigin !== "policy";
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
  if (outcome.status === "cancelled" || calls === 0) return null;
  return Math.min(BAD, Math.floor(((outcome.toolErrors ?? 0) * MILLIONTHS) / calls));
}
