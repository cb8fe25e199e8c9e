/**
 * Starting a rollout.
 */
import { type Alias, type Rollout, type Stage, TOTAL_WEIGHT } from "@flagback/schemas";
import { withWeight } from "../allocation/index.ts";
import { policyProblem, reallocate } from "./aliases.ts";
import type { CommandOf } from "./commands.ts";
import { drillFinding } from "./drill-requirement.ts";
import { payloadProblems } from "./payload-schema.ts";
import { aliasNotFound, versionLocked } from "./refusals.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

/** Begins to expose a candidate. Refused, with the list of what is missing, where there is no rollback plan. */
export function startRollout(world: World, command: CommandOf<"startRollout">, at: Circumstances): Transition {
  const alias = world.aliases.get(command.alias);
  if (!alias) return refused(aliasNotFound(world, command.alias));
  const candidate = command.candidate ?? (alias.candidates.length === 1 ? alias.candidates[0] : undefined);

  const version = candidate === undefined ? undefined : world.versions.get(candidate);
  const lock = alias.locks.find((each) => each.digest === version?.digest);
  if (lock && version) return refused(versionLocked(version.id, alias.name, lock.reason));
  const missing = missingForRollout(world, alias, candidate, at);
  if (missing.length > 0 || candidate === undefined || !version || alias.stable === null || alias.policy === null) {
    return refused({
      code: "rollback_plan_missing",
      message: `A rollout on ${alias.name} can't start: ${missing.join("; ")}.`,
      hint: "Every rollout needs a way back: a stable version, at least one guardrail and a registered candidate.",
      problems: missing,
    });
  }
  if (candidate === alias.stable || version.digest === world.versions.get(alias.stable)?.digest) {
    return refused({
      code: "candidate_equals_stable",
      message:
        candidate === alias.stable
          ? `${candidate} is the stable version of ${alias.name}.`
          : `${candidate} has the same payload as the stable version ${alias.stable}.`,
      hint: "Register the change as a new version and start its rollout.",
    });
  }
  const { stages } = alias.policy;
  const index = command.stage === undefined ? 0 : stages.findIndex((stage) => stage.name === command.stage);
  const stage = stages[index];
  if (!stage) {
    return refused({
      code: "stage_not_found",
      message: `The policy of ${alias.name} has no stage ${command.stage}.`,
      hint: `Its stages are ${stages.map((each) => each.name).join(", ")}.`,
    });
  }

  const drill = drillFinding(
    alias.policy.requireDrill,
    command.drills ?? [],
    {
      alias: alias.name,
      candidateDigest: version.digest,
      targetDigest: world.versions.get(alias.stable)?.digest ?? "",
    },
    at.now,
  );
  if (!drill.isMet && !command.bypassGate) {
    return refused({
      code: "drill_required",
      message: `${candidate} can't be rolled out yet: ${drill.why}.`,
      hint: `Rehearse the rollback with flagback drill ${alias.name} --candidate ${candidate}, or start with --bypass-gate; the audit log keeps that.`,
      problems: [drill.why],
    });
  }
  if (!drill.isMet && command.reason.trim() === "") {
    return refused({
      code: "bad_request",
      message: "Whoever starts a rollout without the drill that its policy demands says why.",
      hint: 'Add --reason "...".',
    });
  }

  const rollout: Rollout = {
    rolloutNumber: alias.rolloutNumber + 1,
    candidate,
    candidateDigest: version.digest,
    target: alias.stable,
    state: "exposing",
    stage: stage.name,
    startedAt: at.now,
    stageStartedAt: at.now,
    policy: alias.policy,
    policyHash: at.digestOf(alias.policy),
  };
  const allocated = reallocate(alias, () =>
    withWeight(alias.allocation, rollout.target, candidate, stageWeight(stage)),
  );
  if ("code" in allocated) return refused(allocated);
  const skipped = stages.slice(0, index).map((each) => each.name);
  const bypassed = [
    ...(skipped.length > 0 ? [`Started without ${skipped.join(", ")}.`] : []),
    ...(drill.isMet ? [] : [`Bypassed the gate, which said: ${drill.why}.`]),
  ];
  const because = command.reason ? `, reason=${command.reason}` : "";
  const bypass = `Gate bypassed ${candidate} -> ${stage.percent} % (stage ${stage.name}) by ${at.actor.name}${because}. ${bypassed.join(" ")}`;
  return changed({
    ...emptyChange(
      "rollout.start",
      `alias:${alias.name}`,
      `Started rollout ${rollout.rolloutNumber} of ${candidate} at ${stage.percent} % (stage ${stage.name})` +
        `${skipped.length > 0 ? `, skipping ${skipped.join(", ")}` : ""}.${drill.isMet ? "" : ` Bypassed the gate, which said: ${drill.why}.`}`,
    ),
    aliases: [
      {
        ...alias,
        allocation: allocated.allocation,
        candidates: [...new Set([...alias.candidates, candidate])],
        rollout,
        rolloutNumber: rollout.rolloutNumber,
      },
    ],
    // Whoever begins further up passes by what those stages would have asked.
    alerts: bypassed.length > 0 ? [{ kind: "bypass", text: bypass, alias: alias.name }] : [],
    audit: {
      decision: "allow",
      fromVersion: alias.stable,
      toVersion: candidate,
      stage: stage.name,
      configHash: rollout.policyHash,
      ...(command.reason ? { reason: command.reason } : {}),
    },
  });
}

/** A stage's weight in thousandths of a percent. */
export function stageWeight(stage: Stage): number {
  return Math.round((stage.percent * TOTAL_WEIGHT) / 100);
}

function missingForRollout(
  world: World,
  alias: Alias,
  candidate: string | undefined,
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

  if (alias.policy === null) missing.push("the alias has no policy with a guardrail");
  else {
    const problem = policyProblem(world, alias.policy);
    if (problem) missing.push(...(problem.problems ?? [problem.message]));
  }
  return missing;
}
