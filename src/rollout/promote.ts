/**
 * Promotion: the candidate that serves 100 % becomes stable; the version before it stays the rollback target for a while.
 */
import { durationMs, TOTAL_WEIGHT } from "@flagback/schemas";
import { weightOf } from "../allocation/index.ts";
import type { CommandOf } from "./commands.ts";
import { withFinishing } from "./finishing.ts";
import { underWay } from "./pause.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

export function promote(world: World, command: CommandOf<"promote">, at: Circumstances): Transition {
  const found = underWay(world, command.alias);
  if ("code" in found) return refused(found);
  const { alias, rollout } = found;
  const weight = weightOf(alias.allocation, rollout.candidate);
  if (weight !== TOTAL_WEIGHT || rollout.state === "paused" || rollout.hold) {
    const because =
      weight === TOTAL_WEIGHT
        ? `its rollout is ${rollout.hold ? `held (${rollout.hold.cause})` : rollout.state}`
        : `it has ${weight / 1_000} % of the traffic, not 100 %`;
    return refused({
      code: "bad_request",
      message: `${rollout.candidate} can't be promoted: ${because}.`,
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
