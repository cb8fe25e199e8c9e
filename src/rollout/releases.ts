/**
 * Releases: a name for versions of several aliases that ship together.
 */
import type { Refusal } from "@flagback/schemas";
import type { CommandOf } from "./commands.ts";
import { versionNotFound } from "./refusals.ts";
import { changed, emptyChange, refused, type Transition, type World } from "./world.ts";

/** Names a release, or changes what it names. Each version must be registered for its alias. */
export function putRelease(world: World, command: CommandOf<"putRelease">): Transition {
  const { name, versions, notes } = command;
  const missing = Object.entries(versions).flatMap(([alias, id]) =>
    world.versions.get(id)?.alias === alias ? [] : [versionNotFound(world, id, alias)],
  );
  const [first] = missing;
  if (first) return refused({ ...first, problems: missing.map((refusal) => refusal.message) });
  const before = world.releases.get(name);
  const sorted = Object.fromEntries(Object.entries(versions).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  if (before?.notes === notes && JSON.stringify(before.versions) === JSON.stringify(sorted)) {
    return { kind: "unchanged", action: "release.put", summary: `${name} is so already.` };
  }
  return changed({
    ...emptyChange(
      before ? "release.update" : "release.create",
      `release:${name}`,
      `${before ? "Changed" : "Named"} release ${name}: ${Object.values(sorted).join(", ")}.`,
    ),
    releases: [{ name, versions: sorted, notes, edit: before?.edit ?? 0 }],
  });
}

export function releaseNotFound(world: World, name: string): Refusal {
  const known = [...world.releases.keys()];
  return {
    code: "release_not_found",
    message: `There is no release ${name}.`,
    hint:
      known.length > 0
        ? `Known releases: ${known.slice(0, 8).join(", ")}.`
        : "Name one in a file: releases: {NAME: {versions: {ALIAS: VERSION}}}.",
  };
}
