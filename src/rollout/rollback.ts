/**
 * The rollback: one change that takes the candidate's weight, locks it, engages the kill switches and opens the incident.
 */
import {
  type Alias,
  type AskedDecision,
  type Decision,
  type Incident,
  type KillSwitch,
  type Lock,
  type Rollout,
  SHORT_ID_LENGTH,
  type StopReason,
} from "@flagback/schemas";
import { weightsOf, withWeights } from "../allocation/index.ts";
import { closeAsked } from "./asked.ts";
import type { CommandOf } from "./commands.ts";
import { withoutFinishing } from "./finishing.ts";
import { isUnderWay, rolloutOf } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, type Transition, type World } from "./world.ts";

/** Id of the stop of a rollout: the same for every signal that asks for it, on every replica. */
export function stopDecisionId(alias: string, rollout: Rollout, digestOf: Circumstances["digestOf"]): string {
  return digestOf([alias, rollout.candidateDigest, rollout.rolloutNumber, "stop"]);
}

/** Id of the incident that the decision opens where it is carried out. */
export function incidentIdOf(decision: string): string {
  return `inc_${decision.slice(0, SHORT_ID_LENGTH)}`;
}

/** Stops the alias's rollout, for a person, a trigger or the brain. Signals after the first change nothing. */
export function rollback(world: World, command: CommandOf<"rollback">, at: Circumstances): Transition {
  return rolledBackBy(world, command, at, undefined);
}

/** A rollback that people were asked for, and how the asking ended. */
export interface Approved {
  readonly asked: AskedDecision;
  /** `expired` where nobody answered and the policy rolls back. */
  readonly state: "approved" | "expired";
}

/** A rollback with, where it was approved, by whom. An open decision that it was not approved by is superseded. */
export function rolledBackBy(
  world: World,
  command: CommandOf<"rollback">,
  at: Circumstances,
  approved: Approved | undefined,
): Transition {
  const { alias, rollout } = rolloutOf(world, command.alias);
  const id = stopDecisionId(alias.name, rollout, at.digestOf);
  const incidentBefore = world.decisions.get(id);
  if (incidentBefore) {
    return {
      kind: "already_rolled_back",
      action: "rollback",
      summary: `${rollout.candidate} was rolled back already; incident ${incidentBefore}.`,
      decisionId: id,
      incident: incidentBefore,
    };
  }
  const finding = command.finding;
  const reason: StopReason = finding?.reason ?? command.signalled ?? "manual";
  const incidentId = incidentIdOf(id);
  const text = rollbackText(rollout, reason);
  const evidence = [...(finding?.evidence ?? [])];
  const decision: Decision = {
    id,
    alias: alias.name,
    candidate: rollout.candidate,
    candidateDigest: rollout.candidateDigest,
    rolloutNumber: rollout.rolloutNumber,
    kind: "stop",
    reason,
    attribution: finding?.attribution ?? "undetermined",
    at: at.now,
    evidence,
    ...(approved ? { askedRound: approved.asked.round } : {}),
    ...(finding ? { input: finding.input } : {}),
  };
  const incident: Incident = {
    id: incidentId,
    alias: alias.name,
    candidate: rollout.candidate,
    target: rollout.target,
    rolloutNumber: rollout.rolloutNumber,
    stage: rollout.stage,
    reason,
    ...(finding ? { attribution: finding.attribution } : {}),
    decisionId: id,
    state: "open",
    openedAt: at.now,
    revision: 0,
    evidence,
    timeline: [{ at: at.now, by: at.actor.name, text }],
    notes: finding && approved?.state !== "approved" ? [] : [{ at: at.now, by: at.actor.name, text: command.reason }],
    ...(approved ? { approval: approvalBy(approved, at) } : {}),
  };
  return changed({
    ...emptyChange("rollback", `alias:${alias.name}`, text),
    aliases: [rolledBack(world, alias, rollout, { id, incidentId, text, by: at.actor.name, now: at.now })],
    killSwitches: engagedSwitches(world, alias, rollout, incidentId, text, at.now),
    stops: [{ decision, incident }],
    asked: closeAsked(
      world,
      rollout,
      { state: approved?.state ?? "superseded", because: approved ? command.reason : text, incident: incidentId },
      at,
    ),
    alerts: [{ kind: "rollback", text, alias: alias.name, incident: incidentId }],
    audit: {
      decision: "stop",
      reason: reasonText(reason, command, approved),
      fromVersion: rollout.candidate,
      toVersion: rollout.target,
      stage: rollout.stage,
      switchStatus: "pending",
      evidence,
      lastRunIds: [...(finding?.lastRunIds ?? [])],
      decisionId: id,
      configHash: rollout.policyHash,
      incident: incidentId,
    },
  });
}

function approvalBy({ asked, state }: Approved, at: Circumstances): NonNullable<Incident["approval"]> {
  return { by: at.actor.name, askedAt: asked.openedAt, isDeadline: state === "expired" };
}

function reasonText(reason: StopReason, command: CommandOf<"rollback">, approved: Approved | undefined): string {
  if (approved) return `${reason}, ${approved.state}: ${command.reason}`;
  return command.finding ? reason : `${reason}: ${command.reason}`;
}

function rolledBack(
  world: World,
  alias: Alias,
  rollout: Rollout,
  stop: {
    readonly id: string;
    readonly incidentId: string;
    readonly text: string;
    readonly by: string;
    readonly now: string;
  },
): Alias {
  const lock: Lock = {
    digest: rollout.candidateDigest,
    version: rollout.candidate,
    reason: stop.text,
    at: stop.now,
    by: stop.by,
    incident: stop.incidentId,
  };
  const { hold: _over, openDecision: _closed, ...ended } = rollout;
  const { previousStable: _restored, ...kept } = alias;
  // After a promotion the candidate is stable itself: its buckets go back to the version before it.
  const allocation = withWeights(alias.allocation, rollout.target, new Map(others(world, alias, rollout)));
  const before = isUnderWay(alias)
    ? { ...alias, allocation }
    : {
        ...kept,
        stable: rollout.target,
        allocation,
        candidates: [...alias.candidates.filter((version) => version !== rollout.target), rollout.candidate],
      };
  // Not even a conversation that has it ends on what was rolled back, under whichever id.
  const isRolledBack = (id: string) => world.versions.get(id)?.digest === rollout.candidateDigest;
  return {
    ...withoutFinishing(before, (entry) => isRolledBack(entry.version)),
    locks: rollout.policy.lockCandidate
      ? [...alias.locks.filter((each) => each.digest !== lock.digest), lock]
      : alias.locks,
    rollout: { ...ended, state: "rolled_back", endedAt: stop.now, decisionId: stop.id },
  };
}

/** Weights of versions that a rollback does not touch: all but the candidate, its payload under other ids, and the target. */
function others(world: World, alias: Alias, rollout: Rollout): [string, number][] {
  return [...weightsOf(alias.allocation)].filter(
    ([id]) =>
      id !== rollout.candidate && id !== rollout.target && world.versions.get(id)?.digest !== rollout.candidateDigest,
  );
}

function engagedSwitches(
  world: World,
  alias: Alias,
  rollout: Rollout,
  incidentId: string,
  reason: string,
  now: string,
): KillSwitch[] {
  const entry = {
    id: incidentId,
    owner: `incident:${incidentId}`,
    scope: breachScope(alias, rollout),
    reason,
    at: now,
  };
  return rollout.policy.onBreach.engage.flatMap((key) => {
    const killSwitch = world.killSwitches.get(key);
    if (!killSwitch) return [];
    // What a hold of this rollout engaged, the incident holds from here on.
    const kept = killSwitch.engaged.filter(
      (each) => each.id !== entry.id && each.owner !== rolloutOwner(alias, rollout),
    );
    return [{ ...killSwitch, engaged: [...kept, entry] }];
  });
}

/** Where a breach engages the kill switches. */
export function breachScope(alias: Alias, rollout: Rollout): string {
  return rollout.policy.onBreach.scope === "*" ? "*" : `agent=${alias.name}`;
}

/** Owner of what the brain engages while it holds a rollout. */
export function rolloutOwner(alias: Alias, rollout: Rollout): string {
  return `rollout:${alias.name}/${rollout.rolloutNumber}`;
}

/** `Rollback triggered support-agent@2.4.0 -> 2.3.3, reason=error_spike, stage=canary`. */
function rollbackText(rollout: Rollout, reason: StopReason): string {
  const prefix = rollout.candidate.slice(0, rollout.candidate.indexOf("@") + 1);
  const target = prefix && rollout.target.startsWith(prefix) ? rollout.target.slice(prefix.length) : rollout.target;
  return `Rollback triggered ${rollout.candidate} -> ${target}, reason=${reason}, stage=${rollout.stage}`;
}
