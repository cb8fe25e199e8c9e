/**
 * Moving a rollout to its next stage, through the gate.
 */
import { withWeight } from "../allocation/index.ts";
import { reallocate } from "./aliases.ts";
import type { CommandOf } from "./commands.ts";
import { gateOf, objectionsOf } from "./gate.ts";
import { stageWeight } from "./start.ts";
import { rolloutOf } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

export function advanceRollout(world: World, command: CommandOf<"advanceRollout">, at: Circumstances): Transition {
  const { alias, rollout } = rolloutOf(world, command.alias);
  if (command.fromStage !== undefined && command.fromStage !== rollout.stage) {
    const stages = rollout.policy.stages.map(({ name }) => name);
    if (!stages.includes(command.fromStage)) {
      return refused({
        code: "stage_not_found",
        message: `The rollout of ${rollout.candidate} has no stage ${command.fromStage}.`,
        hint: `Its stages are ${stages.join(", ")}; it is at ${rollout.stage}.`,
      });
    }
    return {
      kind: "unchanged",
      action: "rollout.advance",
      summary: `${rollout.candidate} is at stage ${rollout.stage}, not ${command.fromStage}: somebody advanced it already.`,
    };
  }
  const gate = gateOf(world, alias, rollout, { ...command, drills: command.drills ?? [] }, at.now);
  if (gate.step?.kind !== "advance") {
    return refused({
      code: "stage_not_found",
      message: `${rollout.candidate} is at its last stage, ${rollout.stage}.`,
      hint: `Make it stable with flagback rollout promote ${alias.name} --reason "...".`,
    });
  }
  const next = gate.step.stage;
  const objections = objectionsOf(gate);
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
  const text = `Gate bypassed ${rollout.candidate} -> ${next.percent} % (stage ${next.name}) by ${at.actor.name}, reason=${command.reason}.${bypassed}`;
  return changed({
    ...emptyChange(
      "rollout.advance",
      `alias:${alias.name}`,
      `Advanced ${rollout.candidate} to ${next.percent} % (stage ${next.name}).${bypassed}`,
    ),
    aliases: [
      { ...alias, allocation: allocated.allocation, rollout: { ...rollout, stage: next.name, stageStartedAt: at.now } },
    ],
    alerts: objections.length > 0 ? [{ kind: "bypass", text, alias: alias.name }] : [],
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
