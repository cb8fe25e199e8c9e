/**
 * Holding a rollout: the brain found something that a rollback would not cure, or that people must decide. Weights stay,
 * nothing goes up, an alert goes out; by policy the kill switches engage meanwhile.
 */
import type { HoldCause, KillSwitch } from "@flagback/schemas";
import type { CommandOf } from "./commands.ts";
import { breachScope, rolloutOwner } from "./rollback.ts";
import { rolloutOf } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, type Transition, type World } from "./world.ts";

/** What each cause means, in a sentence for people. */
const HOLD_MEANING: Readonly<Record<HoldCause, string>> = {
  shared_cause: "stable degrades as well, so a rollback would not help",
  no_data: "no outcome of the candidate has come for too long",
  excluded_runs: "too many of the candidate's runs are in classes that are not counted",
  sample_ratio: "the candidate's share of the runs does not match its weight",
  freeze: "a guardrail whose action is freeze was breached",
  approval: "a guardrail that needs approval was breached",
};

/** A graver cause takes the place of a lesser one. */
const GRAVITY: Readonly<Record<HoldCause, number>> = {
  no_data: 0,
  sample_ratio: 1,
  excluded_runs: 1,
  approval: 2,
  freeze: 2,
  shared_cause: 3,
};

/** Whether a hold for this cause takes the place of one for the other. */
export function isGraver(cause: HoldCause, than: HoldCause): boolean {
  return GRAVITY[cause] > GRAVITY[than];
}

/** A promoted version can't be held at a weight any more, but its kill switches can be engaged. */
export function holdRollout(world: World, command: CommandOf<"holdRollout">, at: Circumstances): Transition {
  const { alias, rollout } = rolloutOf(world, command.alias);
  const action = "rollout.hold";
  if (rollout.hold && !isGraver(command.cause, rollout.hold.cause)) {
    return {
      kind: "unchanged",
      action,
      summary: `The rollout of ${rollout.candidate} is held already (${rollout.hold.cause}).`,
    };
  }
  if (command.cause !== "no_data" && rollout.heldFor?.includes(command.cause)) {
    return {
      kind: "unchanged",
      action,
      summary: `Somebody resumed ${rollout.candidate} after a hold for ${command.cause}.`,
    };
  }
  const text = `Rollout held ${rollout.candidate}, reason=${command.cause}, stage=${rollout.stage}: ${HOLD_MEANING[command.cause]}`;
  const owner = rolloutOwner(alias, rollout);
  const entry = {
    id: `hold_${at.digestOf(owner).slice(0, 12)}`,
    owner,
    scope: breachScope(alias, rollout),
    reason: text,
    at: at.now,
  };
  const killSwitches: KillSwitch[] = rollout.policy.onBreach.engage.flatMap((key) => {
    const killSwitch = command.engage ? world.killSwitches.get(key) : undefined;
    const kept = killSwitch?.engaged.filter((each) => each.id !== entry.id) ?? [];
    return killSwitch ? [{ ...killSwitch, engaged: [...kept, entry] }] : [];
  });
  return changed({
    ...emptyChange(action, `alias:${alias.name}`, `${text}. ${command.summary}`),
    aliases: [
      {
        ...alias,
        rollout: {
          ...rollout,
          hold: { cause: command.cause, since: at.now, summary: command.summary },
          heldFor: [...new Set([...(rollout.heldFor ?? []), command.cause])],
        },
      },
    ],
    killSwitches,
    alerts: [{ kind: "hold", text, alias: alias.name }],
    audit: {
      decision: "allow",
      reason: command.cause,
      fromVersion: rollout.target,
      toVersion: rollout.candidate,
      stage: rollout.stage,
      evidence: [...command.evidence],
      configHash: rollout.policyHash,
    },
  });
}
