/**
 * The configuration that asks for the world as it is: applied to the same world it changes nothing, and on an empty
 * database it makes the documents again. What happened (locks, incidents, what is engaged), and the shadows of
 * drills, are no configuration.
 */
import { type Alias, type ConfigInput, isDrillName, type Version } from "@flagback/schemas";
import { weightOf } from "../allocation/index.ts";
import { isUnderWay } from "./under-way.ts";
import type { World } from "./world.ts";

/** Every block is there, so that it answers for all documents of its kind. */
export function configOf(world: World): ConfigInput {
  const kept = [...world.versions.values()].filter(
    ({ alias, retiredAt }) => retiredAt === undefined && !isDrillName(alias),
  );
  const aliases = [...world.aliases.values()].filter(({ name }) => !isDrillName(name));
  const ids = new Set(kept.map(({ id }) => id));
  return {
    versions: kept.map(versionOf),
    aliases: Object.fromEntries(aliases.map((alias) => [alias.name, aliasOf(alias, ids)])),
    killSwitches: Object.fromEntries([...world.killSwitches.values()].map(({ key, failSafe }) => [key, { failSafe }])),
    flags: Object.fromEntries([...world.flags.values()].map(({ key, definition }) => [key, definition])),
    triggers: Object.fromEntries(
      [...world.triggers.values()].map(({ id, edit: _edit, ...definition }) => [id, definition]),
    ),
    releases: Object.fromEntries(
      [...world.releases.values()]
        .filter((release) => Object.values(release.versions).every((id) => ids.has(id)))
        .map(({ name, versions, notes }) => [name, { versions, notes }]),
    ),
  };
}

function versionOf({ id, alias, kind, payload, labels, notes }: Version): NonNullable<ConfigInput["versions"]>[number] {
  return {
    id,
    alias,
    kind,
    payload,
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
    ...(notes === "" ? {} : { notes }),
  };
}

function aliasOf(alias: Alias, versions: ReadonlySet<string>): NonNullable<ConfigInput["aliases"]>[string] {
  const { name, stable, salt, policy, payloadSchema } = alias;
  return {
    ...(stable === null ? {} : { stable, candidates: candidatesOf(alias, stable, versions) }),
    ...(salt === name ? {} : { salt }),
    ...(policy === null ? {} : { policy }),
    ...(payloadSchema === undefined ? {} : { payloadSchema }),
  };
}

/** The weights of a rollout under way are the rollout's own: without weights the file leaves them alone. */
function candidatesOf(alias: Alias, stable: string, versions: ReadonlySet<string>) {
  const ids = [stable, ...alias.candidates].filter((id) => versions.has(id));
  const percentOf = (id: string) => (isUnderWay(alias) ? 0 : weightOf(alias.allocation, id) / 1_000);
  return ids.map((id) => ({ id, weight: percentOf(id) }));
}
