/**
 * Several changes as one: documents as they are after the last, everything else one after the other.
 */
import type { Command } from "./commands.ts";
import type { Change, Circumstances, Transition, World } from "./world.ts";

/** One command's transition, for those who make several into one. */
export type Step = (world: World, command: Command, at: Circumstances) => Transition;

export type JoinedChanges = Omit<Change, "action" | "target" | "summary" | "audit" | "rows" | "plan" | "coordinated">;

/** Changes in the order in which they were made, each against what the one before it left. */
export function joined(changes: readonly Change[]): JoinedChanges {
  const last = <T>(documentsOf: (change: Change) => readonly T[], keyOf: (document: T) => string): T[] => [
    ...new Map(changes.flatMap(documentsOf).map((document) => [keyOf(document), document])).values(),
  ];
  return {
    aliases: last(
      (change) => change.aliases,
      (alias) => alias.name,
    ),
    versions: last(
      (change) => change.versions,
      (version) => version.id,
    ),
    killSwitches: last(
      (change) => change.killSwitches,
      (killSwitch) => killSwitch.key,
    ),
    flags: last(
      (change) => change.flags,
      (flag) => flag.key,
    ),
    triggers: last(
      (change) => change.triggers,
      (trigger) => trigger.id,
    ),
    releases: last(
      (change) => change.releases,
      (release) => release.name,
    ),
    incidents: last(
      (change) => change.incidents,
      (incident) => incident.id,
    ),
    asked: last(
      (change) => change.asked,
      (asked) => asked.id,
    ),
    deleted: changes.flatMap((change) => change.deleted),
    stops: changes.flatMap((change) => change.stops),
    alerts: changes.flatMap((change) => change.alerts),
  };
}
