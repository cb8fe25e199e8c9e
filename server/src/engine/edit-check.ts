/**
 * Refuses a change that was written against another edit of its document (`If-Match`).
 */
import type { Command, World } from "@flagback/core";
import { FlagbackError } from "@flagback/schemas";

/** Any edit, or this one. Without it nothing is asked. */
export type IfMatch = number | "*" | undefined;

/** @throws FlagbackError `revision_conflict` where the document is at another edit, or where there is none. */
export function checkEdit(world: World, command: Command, ifMatch: IfMatch): void {
  const guarded = ifMatch === undefined ? undefined : documentOf(world, command);
  if (!guarded) return;
  const { document } = guarded;
  if (document && (ifMatch === "*" || document.edit === ifMatch)) return;
  throw new FlagbackError({
    code: "revision_conflict",
    message: document
      ? `The document is at edit ${document.edit}, not ${ifMatch}: somebody changed it meanwhile.`
      : "There is no such document, so none that If-Match could name.",
    hint: "Read it again, look at what changed, and repeat with its new ETag.",
  });
}

/** The document that a command is about. Emergencies (rollback, engage, stop) name none: they lose no races. */
function documentOf(
  world: World,
  command: Command,
): { readonly document: { readonly edit: number } | undefined } | undefined {
  switch (command.kind) {
    case "putAlias":
      return { document: world.aliases.get(command.name) };
    case "addCandidates":
    case "declareStable":
    case "startRollout":
    case "rollForward":
    case "advanceRollout":
    case "resumeRollout":
    case "promote":
    case "unlock":
      return { document: world.aliases.get(command.alias) };
    case "release":
    case "putKillSwitch":
      return { document: world.killSwitches.get(command.key) };
    case "putFlag":
    case "deleteFlag":
      return { document: world.flags.get(command.key) };
    case "putTrigger":
    case "deleteTrigger":
      return { document: world.triggers.get(command.id) };
    case "putRelease":
      return { document: world.releases.get(command.name) };
    case "registerVersion":
    case "retireVersion":
    case "pauseRollout":
    case "holdRollout":
    case "endHold":
    case "rollback":
    case "ask":
    case "approve":
    case "reject":
    case "rollbackTogether":
    case "lock":
    case "engage":
    case "expireEntries":
    case "expireFinishing":
    case "stopEverything":
    case "openDrill":
    case "closeDrill":
    case "deleteAlias":
    case "deleteKillSwitch":
    case "apply":
    case "convergeIncident":
    case "settleIncident":
    case "releaseIncident":
    case "noteIncident":
      return undefined;
  }
}
