/**
 * Starting a rollout: the way back is known, and nothing speaks against going up.
 */
import {
  type Alias,
  type Policy,
  type Refusal,
  type Rollout,
  type Stage,
  TOTAL_WEIGHT,
  type Version,
} from "@flagback/schemas";
import { withWeight } from "../allocation/index.ts";
import { policyProblem, reallocate } from "./aliases.ts";
import type { CommandOf } from "./commands.ts";
import { conditionsOfStart } from "./gate.ts";
import { payloadProblems } from "./payload-schema.ts";
import { aliasNotFound, versionLocked } from "./refusals.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

/** Begins to expose a candidate. Refused, with the list of all that is missing, where there is no rollback plan. */
export function startRollout(world: World, command: CommandOf<"startRollout">, at: Circumstances): Transition {
  const alias = world.aliases.get(command.alias);
  if (!alias) return refused(aliasNotFound(world, command.alias));
  const candidate = command.candidate ?? (alias.candidates.length === 1 ? alias.candidates[0] : undefined);
  const unmet = conditionsOfStart(world, alias, candidate, alias.policy, command.drills ?? [], at.now).filter(
    ({ isMet }) => !isMet,
  );
  const objections = unmet.map(({ why }) => why);
  const plan = rollbackPlanOf(world, alias, candidate, alias.policy, objections, at);
  if ("code" in plan) return refused(plan);
  if (unmet.some(({ condition }) => condition === "no_incident")) {
    return refused({
      code: "gate_closed",
      message: `A rollout of ${plan.candidate.id} on ${alias.name} can't start: ${objections.join("; ")}.`,
      hint: `Wait for the recovery, or answer for it with flagback incident release ID --reason "..."; a fix may go ahead with flagback rollout forward ${alias.name} ${plan.candidate.id} --reason "...".`,
      problems: objections,
    });
  }
  const { stages } = plan.policy;
  const index = command.stage === undefined ? 0 : stages.findIndex((stage) => stage.name === command.stage);
  const stage = stages[index];
  if (!stage) {
    return refused({
      code: "stage_not_found",
      message: `The policy of ${alias.name} has no stage ${command.stage}.`,
      hint: `Its stages are ${stages.map((each) => each.name).join(", ")}.`,
    });
  }

  const drill = unmet.find(({ condition }) => condition === "drill");
  if (drill && !command.bypassGate) {
    return refused({
      code: "drill_required",
      message: `${plan.candidate.id} can't be rolled out yet: ${drill.why}.`,
      hint: `Rehearse the rollback with flagback drill ${alias.name} --candidate ${plan.candidate.id}, or start with --bypass-gate; the audit log keeps that.`,
      problems: [drill.why],
    });
  }
  if (drill && command.reason.trim() === "") {
    return refused({
      code: "bad_request",
      message: "Whoever starts a rollout without the drill that its policy demands says why.",
      hint: 'Add --reason "...".',
    });
  }

  const begun = beginRollout(alias, plan, stage, at);
  if ("code" in begun) return refused(begun);
  const { rollout } = begun;
  const skipped = stages.slice(0, index).map((each) => each.name);
  const bypassed = [
    ...(skipped.length > 0 ? [`Started without ${skipped.join(", ")}.`] : []),
    ...(drill ? [`Bypassed the gate, which said: ${drill.why}.`] : []),
  ];
  const because = command.reason ? `, reason=${command.reason}` : "";
  const bypass = `Gate bypassed ${rollout.candidate} -> ${stage.percent} % (stage ${stage.name}) by ${at.actor.name}${because}. ${bypassed.join(" ")}`;
  return changed({
    ...emptyChange(
      "rollout.start",
      `alias:${alias.name}`,
      `Started rollout ${rollout.rolloutNumber} of ${rollout.candidate} at ${stage.percent} % (stage ${stage.name})` +
        `${skipped.length > 0 ? `, skipping ${skipped.join(", ")}` : ""}.${drill ? ` Bypassed the gate, which said: ${drill.why}.` : ""}`,
    ),
    aliases: [begun],
    // Whoever begins further up passes by what those stages would have asked.
    alerts: bypassed.length > 0 ? [{ kind: "bypass", text: bypass, alias: alias.name }] : [],
    audit: {
      decision: "allow",
      fromVersion: rollout.target,
      toVersion: rollout.candidate,
      stage: stage.name,
      configHash: rollout.policyHash,
      ...(command.reason ? { reason: command.reason } : {}),
    },
  });
}

/** What a rollout can begin with. */
export interface RollbackPlan {
  readonly candidate: Version;
  /** The version that a rollback returns to. */
  readonly target: string;
  readonly policy: Policy;
}

/**
 * The plan, or the refusal with all that is missing. `objections` speak against the start as well; they are listed with what
 * is missing, and alone refuse nothing.
 */
export function rollbackPlanOf(
  world: World,
  alias: Alias,
  candidate: string | undefined,
  policy: Policy | null,
  objections: readonly string[],
  at: Circumstances,
): RollbackPlan | Refusal {
  const missing = missingForRollout(world, alias, candidate, policy, at);
  const version = candidate === undefined ? undefined : world.versions.get(candidate);
  const lock = alias.locks.find((each) => each.digest === version?.digest);
  const locked = lock && version ? versionLocked(version.id, alias.name, lock.reason) : undefined;
  const problems = [...missing, ...(locked ? [locked.message] : []), ...objections];
  // The lock first: it says why, and a candidate that may not go up needs no plan.
  if (locked) return { ...locked, problems };
  const { stable } = alias;
  if (missing.length > 0 || !version || stable === null || policy === null) {
    return {
      code: "rollback_plan_missing",
      message: `A rollout on ${alias.name} can't start: ${problems.join("; ")}.`,
      hint: "Every rollout needs a way back: a stable version, at least one guardrail and a registered candidate.",
      problems,
    };
  }
  if (version.id === stable || version.digest === world.versions.get(stable)?.digest) {
    return {
      code: "candidate_equals_stable",
      message:
        version.id === stable
          ? `${version.id} is the stable version of ${alias.name}.`
          : `${version.id} has the same payload as the stable version ${stable}.`,
      hint: "Register the change as a new version and start its rollout.",
    };
  }
  return { candidate: version, target: stable, policy };
}

/** The alias with its next rollout at the stage, or why its weights can't be had. */
export function beginRollout(
  alias: Alias,
  { candidate, target, policy }: RollbackPlan,
  stage: Stage,
  at: Circumstances,
): (Alias & { readonly rollout: Rollout }) | Refusal {
  const rollout: Rollout = {
    rolloutNumber: alias.rolloutNumber + 1,
    candidate: candidate.id,
    candidateDigest: candidate.digest,
    target,
    state: "exposing",
    stage: stage.name,
    startedAt: at.now,
    stageStartedAt: at.now,
    policy,
    policyHash: at.digestOf(policy),
  };
  const allocated = reallocate(alias, () => withWeight(alias.allocation, target, candidate.id, stageWeight(stage)));
  if ("code" in allocated) return allocated;
  return {
    ...alias,
    allocation: allocated.allocation,
    candidates: [...new Set([...alias.candidates, candidate.id])],
    rollout,
    rolloutNumber: rollout.rolloutNumber,
  };
}

/** A stage's weight in thousandths of a percent. */
export function stageWeight(stage: Stage): number {
  return Math.round((stage.percent * TOTAL_WEIGHT) / 100);
}

function missingForRollout(
  world: World,
  alias: Alias,
  candidate: string | undefined,
  policy: Policy | null,
  { payloads }: Circumstances,
): string[] {
  const missing: string[] = [];
  const stable = alias.stable === null ? undefined : world.versions.get(alias.stable);
  if (alias.stable === null) missing.push("no stable version is declared");
  else if (!stable) missing.push(`the stable version ${alias.stable} is not registered`);
  else if (stable.retiredAt) missing.push(`the stable version ${alias.stable} is retired`);

  const version = candidate === undefined ? undefined : world.versions.get(candidate);
  if (candidate === undefined) {
    missing.push(
      alias.candidates.length === 0
        ? "no candidate is named"
        : `say which candidate is meant: ${alias.candidates.join(", ")}`,
    );
  } else if (!version || version.alias !== alias.name)
    missing.push(`the candidate ${candidate} is not registered for ${alias.name}`);
  else if (version.retiredAt) missing.push(`the candidate ${candidate} is retired`);
  else {
    const unmet = payloadProblems(alias, version, payloads);
    missing.push(
      ...unmet.map((problem) => `the payload of ${candidate} breaks the alias's payload schema: ${problem}`),
    );
  }

  if (policy === null) missing.push("the alias has no policy with a guardrail");
  else {
    const problem = policyProblem(world, policy);
    if (problem) missing.push(...(problem.problems ?? [problem.message]));
  }
  return missing;
}
