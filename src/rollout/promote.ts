/**
 * Promotion: the candidate that serves 100 % becomes stable; the version before it stays the rollback target for a while.
 */
import { durationMs, TOTAL_WEIGHT } from "@flagback/schemas";
import { weightOf } from "../allocation/index.ts";
import type { CommandOf } from "./commands.ts";
import { withFinishing } from "./finishing.ts";
import { rolloutOf } from "./under-way.ts";
import { pastStables } from "./versions.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

export function promote(world: World, command: CommandOf<"promote">, at: Circumstances): Transition {
  const { alias, rollout } = rolloutOf(world, command.alias);
  if (rollout.state === "promoted") {
    return { kind: "unchanged", action: "rollout.promote", summary: `${rollout.candidate} is promoted already.` };
  }
  const weight = weightOf(alias.allocation, rollout.candidate);
  if (weight !== TOTAL_WEIGHT) {
    return refused({
      code: "gate_closed",
      message: `${rollout.candidate} can't be promoted: it has ${weight / 1_000} % of the traffic, not 100 %.`,
      hint: "A version becomes stable when it serves everything, and nothing speaks against it.",
    });
  }
  const until = new Date(Date.parse(at.now) + durationMs(rollout.policy.rollbackWindow)).toISOString();
  return changed({
    ...emptyChange(
      "rollout.promote",
      `alias:${alias.name}`,
      `Promoted ${rollout.candidate}: it is the stable version of ${alias.name}. ${rollout.target} stays the rollback target until ${until}.`,
    ),
    aliases: [
      {
        ...withFinishing(alias, rollout.policy, [rollout.target], at.now),
        stable: rollout.candidate,
        previousStable: { version: rollout.target, until },
        pastStables: pastStables(alias, rollout.target, at.now),
        candidates: alias.candidates.filter((version) => version !== rollout.candidate),
        rollout: { ...rollout, state: "promoted", endedAt: at.now },
      },
    ],
    audit: {
      decision: "allow",
      reason: command.reason,
      fromVersion: rollout.target,
      toVersion: rollout.candidate,
      stage: rollout.stage,
      configHash: rollout.policyHash,
    },
  });
}
