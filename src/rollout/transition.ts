/**
 * The one door to every change: a command against the world gives a change or a refusal. Pure.
 */
import { advanceRollout } from "./advance.ts";
import { addCandidates, declareStable, putAlias } from "./aliases.ts";
import { apply } from "./apply.ts";
import type { Command } from "./commands.ts";
import { expireFinishing } from "./finishing.ts";
import { deleteFlag, putFlag } from "./flags.ts";
import { holdRollout } from "./hold.ts";
import { engage, expireEntries, putKillSwitch, release, stopEverything } from "./kill-switches.ts";
import { endHold, pauseRollout, resumeRollout } from "./pause.ts";
import { promote } from "./promote.ts";
import { rollback } from "./rollback.ts";
import { startRollout, unlock } from "./start.ts";
import { registerVersion, retireVersion } from "./versions.ts";
import type { Circumstances, Transition, World } from "./world.ts";

export function transition(world: World, command: Command, at: Circumstances): Transition {
  switch (command.kind) {
    case "registerVersion":
      return registerVersion(world, command, at);
    case "retireVersion":
      return retireVersion(world, command, at);
    case "putAlias":
      return putAlias(world, command, at);
    case "addCandidates":
      return addCandidates(world, command);
    case "declareStable":
      return declareStable(world, command);
    case "startRollout":
      return startRollout(world, command, at);
    case "advanceRollout":
      return advanceRollout(world, command, at);
    case "pauseRollout":
      return pauseRollout(world, command);
    case "resumeRollout":
      return resumeRollout(world, command, at);
    case "endHold":
      return endHold(world, command, at);
    case "promote":
      return promote(world, command, at);
    case "holdRollout":
      return holdRollout(world, command, at);
    case "rollback":
      return rollback(world, command, at);
    case "unlock":
      return unlock(world, command);
    case "engage":
      return engage(world, command, at);
    case "release":
      return release(world, command);
    case "expireEntries":
      return expireEntries(world, at);
    case "expireFinishing":
      return expireFinishing(world, at);
    case "stopEverything":
      return stopEverything(world, command, at);
    case "putKillSwitch":
      return putKillSwitch(world, command);
    case "putFlag":
      return putFlag(world, command);
    case "deleteFlag":
      return deleteFlag(world, command);
    case "apply":
      return apply(world, command, at, transition);
  }
}
