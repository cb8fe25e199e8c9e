/**
 * The policy that a drill runs under: the alias's own, with the waiting shortened, and each difference said.
 */
import { type DrillFault, durationMs, type Policy } from "@flagback/schemas";
import { approvalOf } from "../rollout/ask.ts";

/** A first stage below it would take longer than a drill may to gather evidence. */
const LEAST_PERCENT = 20;
/** Longest times that a drill waits for what the policy may wait hours for. */
const MOST = { approval: "2s", recoveryWindow: "20s", silence: "2s", sharedCause: "10s" } as const;

export interface DrillPolicy {
  readonly policy: Policy;
  /** In what it differs, each in a sentence. */
  readonly adjustments: readonly string[];
}

/** `switchOf` names the kill switch that stands in for one of the policy's. */
export function drillPolicy(
  own: Policy,
  faults: readonly DrillFault[],
  switchOf: (key: string) => string,
): DrillPolicy {
  const adjustments: string[] = [];
  const atMost = (what: string, duration: string, most: string): string => {
    if (durationMs(duration) <= durationMs(most)) return duration;
    adjustments.push(`${what} is ${most} instead of ${duration}.`);
    return most;
  };
  const { requireDrill, ...kept } = own;
  const stages = stagesOf(own);
  if (JSON.stringify(stages) !== JSON.stringify(own.stages)) {
    const was = own.stages.map(({ percent, soak }) => `${percent} % for ${soak}`).join(", ");
    const is = stages.map(({ percent }) => `${percent} %`).join(", ");
    adjustments.push(`Stages are ${is} without a soak, instead of ${was}.`);
  }
  if (own.advance === "auto")
    adjustments.push("advance is manual instead of auto: the candidate stays at its first stage.");
  if (requireDrill !== undefined) adjustments.push("requireDrill is left out: this is the drill.");
  const approval = approvalOf(own);
  const isAsking = own.guardrails.some(({ mode }) => mode === "approval");
  const isSilent = faults.includes("silence");
  const policy: Policy = {
    ...kept,
    stages,
    advance: "manual",
    onBreach: { ...own.onBreach, engage: own.onBreach.engage.map(switchOf) },
    // Nobody is there to answer.
    approval: isAsking
      ? { ...approval, deadline: atMost("approval.deadline", approval.deadline, MOST.approval) }
      : approval,
    recovery: { window: atMost("recovery.window", own.recovery.window, MOST.recoveryWindow) },
    onSharedCause: { ...own.onSharedCause, for: atMost("onSharedCause.for", own.onSharedCause.for, MOST.sharedCause) },
    outcomeTimeout: isSilent ? atMost("outcomeTimeout", own.outcomeTimeout, MOST.silence) : own.outcomeTimeout,
  };
  return { policy, adjustments };
}

/** As many as before, so that as much evidence is needed as before; the first with enough traffic for a short drill. */
function stagesOf({ stages }: Policy): Policy["stages"] {
  const step = (100 - LEAST_PERCENT) / Math.max(1, stages.length - 1);
  return stages.map((stage, index) => ({
    ...stage,
    percent: Math.max(stage.percent, Math.floor(LEAST_PERCENT + index * step)),
    soak: "0s",
  }));
}
