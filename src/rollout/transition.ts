/**
 * The one door to every change: a command against the world gives a change or a refusal. Pure.
 */
import { closeDrill, openDrill } from "../drill/shadow.ts";
import { addCandidates, putAlias } from "./aliases.ts";
import { apply } from "./apply.ts";
import type { Command } from "./commands.ts";
import { expireFinishing } from "./finishing.ts";
import { deleteFlag, putFlag } from "./flags.ts";
import { convergeIncident, noteIncident, releaseIncident, settleIncident } from "./incidents.ts";
import { engage, expireEntries, putKillSwitch, release, stopEverything } from "./kill-switches.ts";
import { putRelease } from "./releases.ts";
import { deleteAlias, deleteKillSwitch } from "./removal.ts";
import { rollbackTogether } from "./rollback-together.ts";
import { rolloutStep } from "./rollout-step.ts";
import { deleteTrigger, putTrigger } from "./triggers.ts";
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
    case "startRollout":
    case "rollForward":
    case "advanceRollout":
    case "pauseRollout":
    case "resumeRollout":
    case "promote":
    case "rollback":
    case "ask":
    case "approve":
    case "reject":
    case "lock":
    case "unlock":
    case "holdRollout":
    case "endHold":
      return rolloutStep(world, command, at);
    case "rollbackTogether":
      return rollbackTogether(world, command, at, transition);
    case "convergeIncident":
      return convergeIncident(world, command, at);
    case "settleIncident":
      return settleIncident(world, command, at);
    case "releaseIncident":
      return releaseIncident(world, command, at);
    case "noteIncident":
      return noteIncident(world, command, at);
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
    case "putTrigger":
      return putTrigger(world, command);
    case "deleteTrigger":
      return deleteTrigger(world, command);
    case "openDrill":
      return openDrill(world, command, at);
    case "closeDrill":
      return closeDrill(world, command, at);
    case "putRelease":
      return putRelease(world, command);
    case "deleteAlias":
      return deleteAlias(world, command, at);
    case "deleteKillSwitch":
      return deleteKillSwitch(world, command);
    case "apply":
      return apply(world, command, at, transition);
  }
}
