/**
 * One command against the rollout machine: the table says whether the state allows it, the command's own function what it
 * changes. Every refusal says where the rollout stands, and what is possible from there.
 */
import type { Alias, ErrorCode, Refusal } from "@flagback/schemas";
import { advanceRollout } from "./advance.ts";
import { declareStable } from "./aliases.ts";
import { approve, reject } from "./answer.ts";
import { ask } from "./ask.ts";
import type { Command } from "./commands.ts";
import { holdRollout } from "./hold.ts";
import { lock } from "./lock.ts";
import { MACHINE, type MachineCommand, type MachineState, nameOf } from "./machine.ts";
import { possibilities, stateOf } from "./machine-state.ts";
import { endHold, pauseRollout, resumeRollout } from "./pause.ts";
import { promote } from "./promote.ts";
import { aliasNotFound } from "./refusals.ts";
import { rollForward } from "./roll-forward.ts";
import { rollback } from "./rollback.ts";
import { startRollout } from "./start.ts";
import { unlock } from "./unlock.ts";
import { type Circumstances, refused, type Transition, type World } from "./world.ts";

type RolloutCommand = Extract<Command, { kind: MachineCommand }>;

export function rolloutStep(world: World, command: RolloutCommand, at: Circumstances): Transition {
  const alias = world.aliases.get(command.alias);
  if (!alias) return refused(aliasNotFound(world, command.alias));
  const meant = "rolloutNumber" in command ? command.rolloutNumber : undefined;
  if (meant !== undefined && meant !== alias.rolloutNumber) {
    return {
      kind: "unchanged",
      action: command.kind === "rollback" ? "rollback" : `rollout.${nameOf(command.kind)}`,
      summary: `Rollout ${meant} of ${alias.name} is over; rollout ${alias.rolloutNumber} is another one.`,
    };
  }
  const state = stateOf(alias, at.now);
  const cell = MACHINE[state][command.kind];
  const result =
    cell.kind === "refused" && !cell.explains
      ? refused(refusalIn(state, cell.code, alias, command.kind))
      : carriedOut(world, command, at);
  if (result.kind !== "refused") return result;
  return refused({ ...result.refusal, state, possible: possibilities(alias, state) });
}

function carriedOut(world: World, command: RolloutCommand, at: Circumstances): Transition {
  switch (command.kind) {
    case "declareStable":
      return declareStable(world, command, at);
    case "startRollout":
      return startRollout(world, command, at);
    case "rollForward":
      return rollForward(world, command, at);
    case "advanceRollout":
      return advanceRollout(world, command, at);
    case "pauseRollout":
      return pauseRollout(world, command, at);
    case "resumeRollout":
      return resumeRollout(world, command, at);
    case "promote":
      return promote(world, command, at);
    case "rollback":
      return rollback(world, command, at);
    case "ask":
      return ask(world, command, at);
    case "approve":
      return approve(world, command, at);
    case "reject":
      return reject(world, command, at);
    case "lock":
      return lock(world, command, at);
    case "unlock":
      return unlock(world, command, at);
    case "holdRollout":
      return holdRollout(world, command, at);
    case "endHold":
      return endHold(world, command, at);
  }
}

/** What a state forbids: where the rollout stands, and therefore not this. */
function refusalIn(state: MachineState, code: ErrorCode, alias: Alias, kind: MachineCommand): Refusal {
  const where = standing(state, alias);
  return {
    code,
    message: `${where}; ${nameOf(kind)} is not possible now.`,
    hint:
      kind === "rollback"
        ? `${alias.stable ?? "No version"} serves. To stop writes, use flagback kill engage writes_disabled --scope agent=${alias.name}.`
        : `Possible now: ${possibilities(alias, state)
            .map(({ command, role }) => `${command} (${role})`)
            .join(", ")}.`,
    ...(code === "gate_closed" ? { problems: [where] } : {}),
  };
}

/** Where the rollout stands, in a clause. */
function standing(state: MachineState, alias: Alias): string {
  const { name, rollout } = alias;
  if (!rollout) return `No rollout is under way on ${name}`;
  const of = `The rollout of ${rollout.candidate} on ${name}`;
  const asks = "and people are asked whether to roll back";
  const held = rollout.hold ? `held (${rollout.hold.cause}): ${rollout.hold.summary.replace(/\.$/, "")}` : "";
  switch (state) {
    case "undeclared":
    case "registered":
      return `No rollout is under way on ${name} (the last one is ${rollout.state})`;
    case "exposing":
      return `${of} is under way at stage ${rollout.stage}`;
    case "held":
      return `${of} is ${held}`;
    case "deciding":
      return `${of} is held at stage ${rollout.stage}, ${asks}`;
    case "paused":
      return `${of} is paused at stage ${rollout.stage}`;
    case "paused_held":
      return `${of} is paused at stage ${rollout.stage} and ${held}`;
    case "paused_deciding":
      return `${of} is paused at stage ${rollout.stage}, ${asks}`;
    case "promoted":
      return `${rollout.candidate} is promoted on ${name}`;
    case "promoted_held":
      return `${rollout.candidate} is promoted on ${name}, and ${held}`;
    case "promoted_deciding":
      return `${rollout.candidate} is promoted on ${name}, ${asks}`;
    case "rolled_back":
      return `${of} was rolled back`;
    case "recovering":
      return `${of} was rolled back, and ${rollout.target} is being verified`;
    case "recovered":
    case "unverified":
    case "not_recovered":
      return `${of} was rolled back (recovery: ${state})`;
  }
}
