/**
 * Which documents a configuration answers for. A block that a file has lists all documents of its kind, or all whose name
 * begins with one of the prefixes; so what it does not name has drifted, and pruning removes it.
 */
import { type ConfigBlock, DEFAULT_KILL_SWITCH, type DesiredState, isDrillName } from "@flagback/schemas";
import type { World } from "./world.ts";

export interface Ownership {
  /** Blocks that the files have. */
  readonly blocks: readonly ConfigBlock[];
  /** Names begin with one of these; of a version, its alias's. None: every name. */
  readonly prefixes: readonly string[];
}

/** A document that the configuration answers for and does not name. */
export interface Unnamed {
  readonly block: ConfigBlock;
  readonly key: string;
}

/** Each after what it would be in use by: triggers name aliases and kill switches, and aliases name versions. Retired ones are gone already. */
export function unnamed(world: World, desired: DesiredState, { blocks, prefixes }: Ownership): Unnamed[] {
  // A drill removes its shadow itself.
  const isOwned = (name: string) =>
    !isDrillName(name) && (prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix)));
  const aliases = new Set(desired.aliases.map(({ name }) => name));
  const versions = new Set(desired.versions.map(({ id }) => id));
  const found = {
    triggers: [...world.triggers.keys()].filter((id) => isOwned(id) && !desired.triggers.has(id)),
    aliases: [...world.aliases.keys()].filter((name) => isOwned(name) && !aliases.has(name)),
    versions: [...world.versions.values()]
      .filter(({ id, alias, retiredAt }) => isOwned(alias) && retiredAt === undefined && !versions.has(id))
      .map(({ id }) => id),
    flags: [...world.flags.keys()].filter((key) => isOwned(key) && !desired.flags.has(key)),
    // Every database has that one.
    killSwitches: [...world.killSwitches.keys()].filter(
      (key) => isOwned(key) && key !== DEFAULT_KILL_SWITCH && !desired.killSwitches.has(key),
    ),
  } satisfies Record<ConfigBlock, string[]>;
  return Object.entries(found).flatMap(([block, keys]) =>
    blocks.includes(block as ConfigBlock) ? keys.map((key) => ({ block: block as ConfigBlock, key })) : [],
  );
}

/** As plans and the audit log name it. */
export function targetOf({ block, key }: Unnamed): string {
  return `${TARGETS[block]}:${key}`;
}

const TARGETS: Readonly<Record<ConfigBlock, string>> = {
  versions: "version",
  aliases: "alias",
  killSwitches: "kill_switch",
  flags: "flag",
  triggers: "trigger",
};
