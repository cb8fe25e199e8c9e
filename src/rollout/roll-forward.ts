/**
 * Rolling forward: a fix on the fast track, where it is faster than waiting for the recovery. What it passes by is recorded
 * loudly; a locked payload, or one without a way back, never goes.
 */
import type { Incident, Policy, Stage } from "@flagback/schemas";
import type { CommandOf } from "./commands.ts";
import { fastTrackPolicy } from "./fast-track.ts";
import { conditionsOfStart } from "./gate.ts";
import { isUnsettled, withTimeline } from "./incidents.ts";
import { aliasNotFound } from "./refusals.ts";
import { beginRollout, rollbackPlanOf } from "./start.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

export function rollForward(world: World, command: CommandOf<"rollForward">, at: Circumstances): Transition {
  const alias = world.aliases.get(command.alias);
  if (!alias) return refused(aliasNotFound(world, command.alias));
  const policy = alias.policy && fastTrackPolicy(alias.policy, command.percent);
  const plan = rollbackPlanOf(world, alias, command.version, policy, [], at);
  if ("code" in plan) return refused(plan);
  // A policy has at least one stage.
  const stage = plan.policy.stages[0] as Stage;
  const begun = beginRollout(alias, plan, stage, at);
  if ("code" in begun) return refused(begun);
  const { rollout } = begun;

  const unmet = conditionsOfStart(world, alias, command.version, policy, command.drills ?? [], at.now)
    .filter(({ isMet }) => !isMet)
    .map(({ why }) => why);
  const passed = [`the stages ${stagesText(alias.policy)}`, ...unmet].join("; ");
  const text = `Rolled forward ${alias.name} to ${rollout.candidate} -> ${stage.percent} % (stage ${stage.name}), on the fast track ${stagesText(plan.policy)}`;
  const open = [...world.incidents.values()].filter((each) => each.alias === alias.name && isUnsettled(each));
  const last = open.toSorted((a, b) => Date.parse(a.openedAt) - Date.parse(b.openedAt)).at(-1);
  return changed({
    ...emptyChange("rollout.forward", `alias:${alias.name}`, `${text}. It passed by ${passed}.`),
    aliases: [begun],
    incidents: open.map((incident): Incident => withTimeline(incident, at, `${text}. Reason: ${command.reason}`)),
    alerts: [
      {
        kind: "bypass",
        text: `${text}, by ${at.actor.name}, reason=${command.reason}. It passed by ${passed}.`,
        alias: alias.name,
        ...(last ? { incident: last.id } : {}),
      },
    ],
    audit: {
      decision: "allow",
      reason: command.reason,
      fromVersion: rollout.target,
      toVersion: rollout.candidate,
      stage: stage.name,
      configHash: rollout.policyHash,
      ...(last ? { incident: last.id } : {}),
    },
  });
}

/** `canary 1 % for 10m, full 100 %`. */
function stagesText(policy: Pick<Policy, "stages"> | null): string {
  const stages = policy?.stages ?? [];
  return stages
    .map(({ name, percent, soak }) => `${name} ${percent} %${soak === "0s" ? "" : ` for ${soak}`}`)
    .join(", ");
}
