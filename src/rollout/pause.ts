/**
 * Pausing a rollout, and letting it go on. The evaluator keeps judging meanwhile.
 */
import type { Alias, KillSwitch, Rollout } from "@flagback/schemas";
import { closeAsked } from "./asked.ts";
import type { CommandOf } from "./commands.ts";
import { rolloutOwner } from "./rollback.ts";
import { rolloutOf } from "./under-way.ts";
import { type Change, type Circumstances, changed, emptyChange, type Transition, type World } from "./world.ts";

/** Keeps the weights as they are until somebody resumes. Who pauses takes a decision that is open upon them; its hold stays. */
export function pauseRollout(world: World, command: CommandOf<"pauseRollout">, at: Circumstances): Transition {
  const { alias, rollout } = rolloutOf(world, command.alias);
  const action = "rollout.pause";
  if (rollout.state === "paused")
    return { kind: "unchanged", action, summary: `The rollout of ${rollout.candidate} is paused already.` };
  const { openDecision: _closed, ...rest } = rollout;
  return changed({
    ...emptyChange(
      action,
      `alias:${alias.name}`,
      `Paused the rollout of ${rollout.candidate} at stage ${rollout.stage}.`,
    ),
    aliases: [{ ...alias, rollout: { ...rest, state: "paused" } }],
    asked: closeAsked(world, rollout, { state: "superseded", because: `Paused: ${command.reason}` }, at),
    audit: { reason: command.reason, toVersion: rollout.candidate, stage: rollout.stage },
  });
}

/** Ends a pause or a hold, and releases what the hold engaged. */
export function resumeRollout(world: World, command: CommandOf<"resumeRollout">, at: Circumstances): Transition {
  const { alias, rollout } = rolloutOf(world, command.alias);
  const action = "rollout.resume";
  if (rollout.state !== "paused" && !rollout.hold) {
    return { kind: "unchanged", action, summary: `The rollout of ${rollout.candidate} goes on already.` };
  }
  const state = rollout.state === "paused" ? "exposing" : rollout.state;
  return changed(withoutHold(world, alias, { ...rollout, state }, command.reason, at));
}

/** Ends a hold whose cause is over. A graver hold, a person's pause, and one that waits for people's decision stay. */
export function endHold(world: World, command: CommandOf<"endHold">, at: Circumstances): Transition {
  const { alias, rollout } = rolloutOf(world, command.alias);
  if (rollout.hold?.cause === command.cause && rollout.openDecision === undefined) {
    return changed(withoutHold(world, alias, rollout, command.reason, at));
  }
  const summary = `The rollout of ${rollout.candidate} is not held for ${command.cause}.`;
  return { kind: "unchanged", action: "rollout.resume", summary };
}

/** The rollout without its hold or open decision, and the kill switches without what these engaged. */
function withoutHold(world: World, alias: Alias, rollout: Rollout, reason: string, at: Circumstances): Change {
  const { hold, openDecision: _closed, ...going } = rollout;
  const killSwitches: KillSwitch[] = [...world.killSwitches.values()].flatMap((killSwitch) => {
    const engaged = killSwitch.engaged.filter((entry) => entry.owner !== rolloutOwner(alias, rollout));
    return engaged.length === killSwitch.engaged.length ? [] : [{ ...killSwitch, engaged }];
  });
  const ended = hold ? ` after a hold (${hold.cause})` : "";
  const goes = rollout.state === "paused" ? "stays paused" : "goes on";
  return {
    ...emptyChange("rollout.resume", `alias:${alias.name}`, `The rollout of ${rollout.candidate} ${goes}${ended}.`),
    aliases: [{ ...alias, rollout: going }],
    killSwitches,
    asked: closeAsked(world, rollout, { state: "superseded", because: `Resumed: ${reason}` }, at),
    audit: { reason, toVersion: rollout.candidate, stage: rollout.stage },
  };
}
