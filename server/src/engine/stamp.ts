/**
 * The numbers that a change's documents get: the revision that runtimes follow, and the edit that `If-Match` names (DESIGN 3).
 */
import type { Change, World } from "@flagback/core";
import type { Alias } from "@flagback/schemas";
import type { HistoryEntry } from "../store/store.ts";

/** Writes the revision into the documents that runtimes see changed, and the edit into every one. */
export function stamp(world: World, change: Change, touched: HistoryEntry["touched"], revision: number): Change {
  const stamped = <Document extends { readonly revision: number; readonly edit: number }>(
    kind: HistoryEntry["touched"][number]["kind"],
    key: string,
    before: Document | undefined,
    document: Document,
  ): Document => {
    const isTouched = touched.some((each) => each.kind === kind && each.key === key);
    const seen = isTouched ? revision : document.revision;
    return { ...document, revision: seen, edit: Math.max((before?.edit ?? 0) + 1, seen) };
  };
  return {
    ...change,
    aliases: change.aliases.map((each) =>
      withRolloutRevisions(
        stamped("alias", each.name, world.aliases.get(each.name), each),
        change.stops.some(({ incident }) => incident.alias === each.name),
      ),
    ),
    killSwitches: change.killSwitches.map((each) =>
      stamped("killSwitch", each.key, world.killSwitches.get(each.key), each),
    ),
    flags: change.flags.map((each) => stamped("flag", each.key, world.flags.get(each.key), each)),
    triggers: change.triggers.map((each) => ({ ...each, edit: Math.max(each.edit + 1, revision) })),
    releases: change.releases.map((each) => ({ ...each, edit: (world.releases.get(each.name)?.edit ?? 0) + 1 })),
    stops:
      touched.length === 0
        ? change.stops
        : change.stops.map((stop) => ({ ...stop, incident: { ...stop.incident, revision } })),
  };
}

/** Notes the revisions between which a rollout's runs are assigned: others belong to no arm of it. */
function withRolloutRevisions(alias: Alias, isRolledBack: boolean): Alias {
  const { rollout, revision } = alias;
  if (!rollout) return alias;
  const started = rollout.startRevision === undefined ? { startRevision: revision } : {};
  const ended = isRolledBack ? { endRevision: revision } : {};
  return { ...alias, rollout: { ...rollout, ...started, ...ended } };
}
