/** What the brain's tests build from: guardrails, outcomes and a policy, each complete but for what the test says. */
import type { Arm, CompiledGuardrail, CountsRow } from "@flagback/core";
import { type Outcome, Policy, type PolicyInput } from "@flagback/schemas";

export const errorRate: CompiledGuardrail = {
  name: "error_rate",
  kind: "error_rate",
  p0: 0.05,
  mode: "automatic",
  action: "rollback",
  share: 1,
};
export const latency: CompiledGuardrail = {
  name: "latency_p95_ms",
  kind: "latency",
  p0: 0.05,
  limitMs: 1_800,
  mode: "automatic",
  action: "rollback",
  share: 1,
};
export const toolFailure: CompiledGuardrail = {
  name: "tool_failure_rate",
  kind: "tool_failure",
  p0: 0.03,
  mode: "automatic",
  action: "rollback",
  share: 1,
};
/** The seed's three guardrails with their default shares: .25, .15 and .15 of .55. */
export const threeGuardrails: CompiledGuardrail[] = [
  { ...errorRate, share: 0.25 / 0.55 },
  { ...latency, share: 0.15 / 0.55 },
  { ...toolFailure, share: 0.15 / 0.55 },
];

export function outcome(fields: Partial<Outcome> = {}): Outcome {
  return { runId: "run-1", alias: "support-agent", version: "support-agent@2.4.0", status: "success", ...fields };
}

export function policy(guardrails: PolicyInput["guardrails"], fields: Partial<PolicyInput> = {}): Policy {
  return Policy.parse({ guardrails, ...fields });
}

export const errorRateVsStable: CompiledGuardrail = {
  name: "error_rate vs stable",
  kind: "error_rate",
  p0: 0.05,
  relative: { maxOddsRatio: 1.5, floor: 0.01 },
  mode: "automatic",
  action: "rollback",
  share: 1,
};

/** A settled row of 0/1 badness, the same for each of `guardrails` guardrails. */
export function rowOf(arm: Arm, runtime: string, tick: number, n: number, bad: number, guardrails = 1): CountsRow {
  return {
    arm,
    runtime,
    tick,
    assigned: n,
    settled: n,
    missing: 0,
    lost: 0,
    excluded: { cancelled: 0, blocked: 0, client: 0, policy: 0, isDefault: 0 },
    guardrails: Array.from({ length: guardrails }, () => ({ judged: n, bad: bad * 1_000_000 })),
  };
}
