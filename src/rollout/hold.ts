/**
 * Holding a rollout: the brain found something that a rollback would not cure, or that people must decide. Weights stay,
 * nothing goes up, an alert goes out; by policy the kill switches engage meanwhile.
 */
import type { HoldCause, KillSwitch } from "@flagback/schemas";
import type { CommandOf } from "./commands.ts";
import { underWay } from "./pause.ts";
import { breachScope, rolloutOwner } from "./rollback.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

/** What each cause means, in a sentence for people. */
const HOLD_MEANING: Readonly<Record<HoldCause, string>> = {
  shared_cause: "stable degrades as well, so a rollback would not help",
  no_data: "no outcome of the candidate has come for too long",
  excluded_runs: "too many of the candidate's runs are in classes that are not counted",
  sample_ratio: "the candidate's share of the runs does not match its weight",
  freeze: "a guardrail whose action is freeze was breached",
  approval: "a guardrail that needs approval was breached",
};

export function holdRollout(world: World, command: CommandOf<"holdRollout">, at: Circumstances): Transition {
  const found = underWay(world, command.alias);
  if ("code" in found) return refused(found);
  const { alias, rollout } = found;
  const action = "rollout.hold";
  if (rollout.hold) {
    return {
      kind: "unchanged",
      action,
      summary: `The rollout of ${rollout.candidate} is held already (${rollout.hold.cause}).`,
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
    return killSwitch ? [{ ...killSwitch, engaged: [...killSwitch.engaged, entry] }] : [];
  });
  return changed({
    ...emptyChange(action, `alias:${alias.name}`, `${text}. ${command.summary}`),
    aliases: [
      { ...alias, rollout: { ...rollout, hold: { cause: command.cause, since: at.now, summary: command.summary } } },
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
