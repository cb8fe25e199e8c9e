/**
 * What people say to a decision that they are asked for, or the policy where they say nothing in time.
 */
import {
  type Alias,
  type AskedDecision,
  type KillSwitch,
  type Refusal,
  type Rollout,
  SHORT_ID_LENGTH,
} from "@flagback/schemas";
import { askedEntryId, closeAsked } from "./asked.ts";
import type { CommandOf } from "./commands.ts";
import { rolledBackBy } from "./rollback.ts";
import { rolloutOf } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

type Answer = CommandOf<"approve"> | CommandOf<"reject">;

/** Carries the rollback out on what was found when people were asked. */
export function approve(world: World, command: CommandOf<"approve">, at: Circumstances): Transition {
  const incident = world.decisions.get(command.decision);
  if (incident) {
    return {
      kind: "already_rolled_back",
      action: "rollback",
      summary: `${world.incidents.get(incident)?.candidate ?? "The candidate"} was rolled back already; incident ${incident}.`,
      decisionId: command.decision,
      incident,
    };
  }
  const found = openDecision(world, command, at);
  if ("code" in found) return refused(found);
  const { asked } = found;
  const { reason, attribution, evidence, lastRunIds, input } = asked;
  return rolledBackBy(
    world,
    {
      kind: "rollback",
      alias: command.alias,
      reason: command.reason,
      finding: { reason, attribution, evidence, lastRunIds, input },
    },
    at,
    { asked, state: command.isDeadline ? "expired" : "approved" },
  );
}

/** Lets the rollout go on, and releases what the decision engaged. A graver hold stays. */
export function reject(world: World, command: CommandOf<"reject">, at: Circumstances): Transition {
  const found = openDecision(world, command, at);
  if ("code" in found) return refused(found);
  const { asked, alias, rollout } = found;
  const { openDecision: _closed, hold, ...rest } = rollout;
  const going = hold === undefined || hold.cause === "approval" ? rest : { ...rest, hold };
  const short = asked.id.slice(0, SHORT_ID_LENGTH);
  const goes = "hold" in going || rest.state === "paused" ? "stays where it is" : "goes on";
  const text = command.isDeadline
    ? `Nobody answered decision ${short} in time: the rollout of ${rollout.candidate} ${goes}, as its policy says.`
    : `Rejected the rollback of ${rollout.candidate} (decision ${short}): the rollout ${goes}.`;
  const said = command.isDeadline ? text : `${text} By ${at.actor.name}, reason=${command.reason}`;
  return changed({
    ...emptyChange(command.isDeadline ? "decision.expire" : "decision.reject", `alias:${alias.name}`, text),
    aliases: [{ ...alias, rollout: going }],
    killSwitches: withoutEntry(world, askedEntryId(asked.id)),
    asked: closeAsked(
      world,
      rollout,
      { state: command.isDeadline ? "expired" : "rejected", because: command.reason },
      at,
    ),
    alerts: [
      {
        kind: command.isDeadline ? "continued" : "rejected",
        text: said,
        alias: alias.name,
        decision: asked.id,
        round: asked.round,
      },
    ],
    audit: {
      decision: "allow",
      reason: command.reason,
      fromVersion: rollout.target,
      toVersion: rollout.candidate,
      stage: rollout.stage,
      decisionId: asked.id,
      configHash: rollout.policyHash,
    },
  });
}

interface Open {
  readonly asked: AskedDecision;
  readonly alias: Alias;
  readonly rollout: Rollout;
}

/** The decision that is meant, if it may still be answered. */
function openDecision(world: World, command: Answer, at: Circumstances): Open | Refusal {
  const asked = world.asked.get(command.decision);
  if (!asked) {
    return {
      code: "decision_not_open",
      message: `Nobody is asked for a decision ${command.decision.slice(0, SHORT_ID_LENGTH)} on ${command.alias}.`,
      hint: "List those that are open with flagback decisions.",
    };
  }
  const isMeant = command.round === undefined || command.round === asked.round;
  const isOpen = world.aliases.get(asked.alias)?.rollout?.openDecision === asked.id;
  if (!isOpen || !isMeant) return notOpen(asked, isMeant);
  if (!command.isDeadline && Date.parse(at.now) >= Date.parse(asked.deadline)) return expired(asked);
  const { alias, rollout } = rolloutOf(world, asked.alias);
  return { asked, alias, rollout };
}

function notOpen({ id, state, closed, candidate, incident, round }: AskedDecision, isMeant: boolean): Refusal {
  const decision = `Decision ${id.slice(0, SHORT_ID_LENGTH)} about ${candidate}`;
  const by = closed ? ` by ${closed.by} at ${closed.at}: ${closed.because}` : "";
  return {
    code: "decision_not_open",
    message: isMeant
      ? `${decision} is not open any more: it was ${state}${by}`
      : `${decision} was asked again since; this is an answer to an earlier time of asking, and it is round ${round} by now.`,
    hint:
      incident === undefined
        ? "Nothing was changed. The rollout's own commands are still there: rollback, pause, resume."
        : `It ended in a rollback: flagback incident report ${incident}.`,
  };
}

function expired({ id, deadline, atDeadline, candidate }: AskedDecision): Refusal {
  const then = atDeadline === "rollback" ? "is rolled back" : "goes on";
  return {
    code: "decision_expired",
    message: `Decision ${id.slice(0, SHORT_ID_LENGTH)} had to be made by ${deadline}; without an answer ${candidate} ${then}.`,
    hint: 'The rollout\'s own commands are still there: flagback rollback ALIAS --reason "...", or pause and resume.',
  };
}

function withoutEntry(world: World, id: string): KillSwitch[] {
  return [...world.killSwitches.values()]
    .filter(({ engaged }) => engaged.some((entry) => entry.id === id))
    .map((killSwitch) => ({ ...killSwitch, engaged: killSwitch.engaged.filter((entry) => entry.id !== id) }));
}
