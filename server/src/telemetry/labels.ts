/**
 * Which names a metric may carry. Users make aliases, versions and scopes, so each kind has a limit; beyond it, and where a
 * version is retired or its alias no longer names it, they share one label.
 */
import type { World } from "@flagback/core";
import { type Alias, isDrillName } from "@flagback/schemas";

/** Aliases with labels of their own: those that were made first. */
export const MAX_LABELLED_ALIASES = 200;
/** Versions of an alias with labels of their own: those that serve, then those that may. */
export const MAX_LABELLED_VERSIONS = 10;
/** Kill switches with labels of their own: those that were made first. */
export const MAX_LABELLED_SWITCHES = 50;
/** Scopes of a kill switch with labels of their own: those engaged first. */
export const MAX_LABELLED_SCOPES = 20;

/** No alias, version or scope can be called so. */
export const OTHER = "(other)";

/** Labels of aliases and versions, for one look at the world. */
export class Labels {
  readonly #versions: ReadonlyMap<string, ReadonlySet<string>>;

  constructor(world: World) {
    const aliases = realAliases(world).slice(0, MAX_LABELLED_ALIASES);
    this.#versions = new Map(
      aliases.map((alias) => {
        const live = namedBy(alias).filter((id) => world.versions.get(id)?.retiredAt === undefined);
        return [alias.name, new Set([...new Set(live)].slice(0, MAX_LABELLED_VERSIONS))];
      }),
    );
  }

  alias(name: string): string {
    return this.#versions.has(name) ? name : OTHER;
  }

  version(alias: string, id: string): string {
    return this.#versions.get(alias)?.has(id) ? id : OTHER;
  }
}

/** Those that are no shadows of drills. */
export function realAliases(world: World): Alias[] {
  return [...world.aliases.values()].filter(({ name }) => !isDrillName(name));
}

/** Versions that the alias speaks of, the most important first. */
function namedBy({ stable, previousStable, rollout, allocation, candidates }: Alias): string[] {
  const inRollout = rollout ? [rollout.candidate, rollout.target] : [];
  const serving = allocation.map(({ version }) => version);
  return [stable, ...inRollout, ...serving, ...candidates, previousStable?.version].filter(
    (id) => id !== null && id !== undefined,
  );
}
