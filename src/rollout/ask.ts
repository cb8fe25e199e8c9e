/**
 * Asking people: a guardrail of mode `approval` was breached. Weights stay, an alert goes out, by policy the kill switches
 * engage at once, and what happens without an answer is settled from the start.
 */
import {
  type Alias,
  type AskedDecision,
  DEFAULT_APPROVAL,
  durationMs,
  type KillSwitch,
  type Policy,
  type Rollout,
  SHORT_ID_LENGTH,
} from "@flagback/schemas";
import { askedEntryId } from "./asked.ts";
import { hasDoubled } from "./asks-again.ts";
import type { CommandOf } from "./commands.ts";
import { isGraver } from "./hold.ts";
import { breachScope, rolloutOwner, stopDecisionId } from "./rollback.ts";
import { rolloutOf } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, type Transition, type World } from "./world.ts";

/** Opens the decision, or opens it again where the evidence has doubled since people last answered. */
export function ask(world: World, command: CommandOf<"ask">, at: Circumstances): Transition {
  const { alias, rollout } = rolloutOf(world, command.alias);
  const action = "decision.open";
  if (rollout.openDecision !== undefined) {
    return { kind: "unchanged", action, summary: `People are asked about ${rollout.candidate} already.` };
  }
  const { finding, leading, summary } = command;
  const id = stopDecisionId(alias.name, rollout, at.digestOf);
  const before = world.asked.get(id);
  if (before && !hasDoubled(before.evidence, finding.evidence)) {
    return { kind: "unchanged", action, summary: `People were asked about ${rollout.candidate} and have answered.` };
  }
  const { deadline: term, atDeadline, engage } = approvalOf(rollout.policy);
  const deadline = new Date(Date.parse(at.now) + durationMs(term)).toISOString();
  const killSwitches = engage || command.engage ? engagedFor(world, alias, rollout, id, at) : [];
  const asked: AskedDecision = {
    id,
    alias: alias.name,
    candidate: rollout.candidate,
    target: rollout.target,
    rolloutNumber: rollout.rolloutNumber,
    stage: rollout.stage,
    round: (before?.round ?? 0) + 1,
    state: "open",
    reason: finding.reason,
    attribution: finding.attribution,
    leading,
    summary,
    evidence: [...finding.evidence],
    lastRunIds: [...finding.lastRunIds],
    input: finding.input,
    openedAt: at.now,
    deadline,
    atDeadline,
    engaged: killSwitches.map(({ key }) => key),
  };
  const isHeldForMore = rollout.hold !== undefined && !isGraver("approval", rollout.hold.cause);
  const hold = isHeldForMore ? rollout.hold : { cause: "approval" as const, since: at.now, summary };
  const text = askedText(asked);
  return changed({
    ...emptyChange(action, `alias:${alias.name}`, `${text} ${summary}`),
    aliases: [{ ...alias, rollout: { ...rollout, hold, openDecision: id } }],
    killSwitches,
    asked: [asked],
    alerts: [{ kind: "approval", text: `${text} ${summary}`, alias: alias.name, decision: id, round: asked.round }],
    audit: {
      decision: "allow",
      reason: "approval",
      fromVersion: rollout.target,
      toVersion: rollout.candidate,
      stage: rollout.stage,
      evidence: [...finding.evidence],
      lastRunIds: [...finding.lastRunIds],
      decisionId: id,
      configHash: rollout.policyHash,
      ...(killSwitches.length > 0 ? { switchStatus: "pending" } : {}),
    },
  });
}

/** A policy of an older database says nothing about it. */
export function approvalOf(policy: Partial<Policy>): Policy["approval"] {
  return policy.approval ?? DEFAULT_APPROVAL;
}

function engagedFor(world: World, alias: Alias, rollout: Rollout, decision: string, at: Circumstances): KillSwitch[] {
  const entry = {
    id: askedEntryId(decision),
    owner: rolloutOwner(alias, rollout),
    scope: breachScope(alias, rollout),
    reason: `A rollback of ${rollout.candidate} waits for people's approval`,
    at: at.now,
  };
  return rollout.policy.onBreach.engage.flatMap((key) => {
    const killSwitch = world.killSwitches.get(key);
    const kept = killSwitch?.engaged.filter((each) => each.id !== entry.id) ?? [];
    return killSwitch ? [{ ...killSwitch, engaged: [...kept, entry] }] : [];
  });
}

/** `Approval needed for the rollback of support-agent@2.4.0, decision=0123456789ab, ...`. */
function askedText({
  id,
  candidate,
  target,
  reason,
  stage,
  round,
  deadline,
  atDeadline,
  engaged,
}: AskedDecision): string {
  const decision = id.slice(0, SHORT_ID_LENGTH);
  const again = round > 1 ? " again, because the evidence has doubled" : "";
  const then = atDeadline === "rollback" ? "it is rolled back" : "the rollout goes on";
  const meanwhile = engaged.length > 0 ? ` Meanwhile ${engaged.join(", ")} is engaged.` : "";
  return `Approval needed ${candidate} -> ${target}, reason=${reason}, stage=${stage}, decision=${decision}${again}. Without an answer by ${deadline} ${then}.${meanwhile}`;
}
