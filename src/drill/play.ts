/**
 * What a run of a drill reports: one that keeps every guardrail of the policy, and one that a fault has spoilt.
 */
import type { DrillFault, Outcome, Policy } from "@flagback/schemas";
import { type CompiledGuardrail, compileGuardrails, type GuardrailKind } from "../brain/index.ts";

/** An outcome without what the runtime adds. */
export type DrillReport = Omit<Outcome, "runId" | "alias" | "version">;

/** A healthy run is at most this long, and at most half of the policy's shortest latency limit. */
const HEALTHY_MS = 100;
/** A run that a fault has slowed reports this many times the policy's longest latency limit. It is not really waited for. */
const SLOWED = 3;
const TOOL_CALLS = 4;
/** What `errors` and `crash` report, so that nobody takes it for a failure of the agent's. */
const DRILL_ERROR = "injected_by_drill";

/** Guardrails that a fault shows in. A run that never reports is missing, and missing is an error. */
const SHOWS_IN: Readonly<Record<DrillFault, GuardrailKind>> = {
  errors: "error_rate",
  latency: "latency",
  tool_failures: "tool_failure",
  silence: "error_rate",
  crash: "error_rate",
};

export function guardrailsOf(policy: Policy): readonly CompiledGuardrail[] {
  const compiled = compileGuardrails(policy);
  return compiled.ok ? compiled.guardrails : [];
}

/** The guardrails that can decide about a fault. */
export function guardrailsThatSee(policy: Policy, fault: DrillFault): readonly CompiledGuardrail[] {
  return guardrailsOf(policy).filter(({ kind, mode }) => kind === SHOWS_IN[fault] && mode !== "observe");
}

/** Says something good about every guardrail. */
export function healthyRun(policy: Policy): DrillReport {
  const guardrails = guardrailsOf(policy);
  const limits = guardrails.flatMap(({ limitMs }) => limitMs ?? []);
  const custom = guardrails.flatMap(({ kind, field }) => (kind.startsWith("custom") && field ? [[field, 0]] : []));
  return {
    status: "success",
    durationMs: Math.min(HEALTHY_MS, ...limits.map((limit) => limit / 2)),
    toolCalls: TOOL_CALLS,
    toolErrors: 0,
    quality: 1,
    costUsd: 0,
    ...(custom.length > 0 ? { metrics: Object.fromEntries(custom) } : {}),
  };
}

/** Null for a run that never reports. */
export function faultyRun(policy: Policy, fault: DrillFault): DrillReport | null {
  const healthy = healthyRun(policy);
  switch (fault) {
    case "errors":
    case "crash":
      return { ...healthy, status: "failure", errorOrigin: "agent", errorType: DRILL_ERROR };
    case "latency": {
      const limits = guardrailsOf(policy).flatMap(({ limitMs }) => limitMs ?? []);
      return { ...healthy, durationMs: SLOWED * Math.max(HEALTHY_MS, ...limits) };
    }
    case "tool_failures":
      return { ...healthy, toolErrors: TOOL_CALLS };
    case "silence":
      return null;
  }
}
