/**
 * Moving a rollout to its next stage, through the gate: going up needs time, proof and nobody's objection; going down waits
 * for nobody (DESIGN 7).
 */
import { durationMs, type Rollout, type Stage } from "@flagback/schemas";
import { withWeight } from "../allocation/index.ts";
import { reallocate } from "./aliases.ts";
import type { CommandOf } from "./commands.ts";
import { stageWeight } from "./start.ts";
import { rolloutOf } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

export function advanceRollout(world: World, command: CommandOf<"advanceRollout">, at: Circumstances): Transition {
  const { alias, rollout } = rolloutOf(world, command.alias);
  const { stages } = rollout.policy;
  const current = stages.findIndex((stage) => stage.name === rollout.stage);
  const next = stages[current + 1];
  if (!next) {
    return refused({
      code: "stage_not_found",
      message: `${rollout.candidate} is at its last stage, ${rollout.stage}.`,
      hint: `Make it stable with flagback rollout promote ${alias.name} --reason "...".`,
    });
  }
  const objections = gate(world, rollout, stages[current], command.isHealthy, at.now);
  if (objections.length > 0 && !command.bypassGate) {
    return refused({
      code: "gate_closed",
      message: `${rollout.candidate} can't advance to ${next.name}: ${objections.join("; ")}.`,
      hint: "Wait until the gate opens, or advance with --bypass-gate; the audit log keeps what it said.",
      problems: objections,
    });
  }
  const allocated = reallocate(alias, () =>
    withWeight(alias.allocation, rollout.target, rollout.candidate, stageWeight(next)),
  );
  if ("code" in allocated) return refused(allocated);
  const bypassed = objections.length > 0 ? ` Bypassed the gate, which said: ${objections.join("; ")}.` : "";
  return changed({
    ...emptyChange(
      "rollout.advance",
      `alias:${alias.name}`,
      `Advanced ${rollout.candidate} to ${next.percent} % (stage ${next.name}).${bypassed}`,
    ),
    aliases: [
      { ...alias, allocation: allocated.allocation, rollout: { ...rollout, stage: next.name, stageStartedAt: at.now } },
    ],
    audit: {
      decision: "allow",
      reason: command.reason,
      fromVersion: rollout.target,
      toVersion: rollout.candidate,
      stage: next.name,
      configHash: rollout.policyHash,
    },
  });
}

/** What speaks against the next stage, each in a sentence. */
function gate(world: World, rollout: Rollout, stage: Stage | undefined, isHealthy: boolean, now: string): string[] {
  const objections: string[] = [];
  const soakedMs = Date.parse(now) - Date.parse(rollout.stageStartedAt);
  if (stage && soakedMs < durationMs(stage.soak)) {
    objections.push(`stage ${stage.name} soaks for ${stage.soak}, and ${Math.floor(soakedMs / 1_000)} s have passed`);
  }
  if (!isHealthy) objections.push("its guardrails are not proven healthy yet");
  const target = world.versions.get(rollout.target);
  if (!target || target.retiredAt) objections.push(`the rollback target ${rollout.target} is not available`);
  return objections;
}
