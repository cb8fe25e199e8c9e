/**
 * Whether a report may be taken at all: by its token, and because what it speaks of exists.
 */
import type { World } from "@flagback/core";

/** Why something that was reported is not taken. */
export interface Problem {
  readonly code: string;
  readonly message: string;
}

/** A problem of one item of several. */
export interface Rejection extends Problem {
  readonly index: number;
}

/** @param mayReport says which aliases the token may speak of */
export function unreportable(
  { alias, version }: { readonly alias: string; readonly version: string },
  world: World,
  mayReport: (alias: string) => boolean,
): Problem | undefined {
  if (!mayReport(alias)) return { code: "forbidden", message: `this token may not report for ${alias}` };
  if (!world.aliases.has(alias)) return { code: "alias_not_found", message: `there is no alias ${alias}` };
  if (world.versions.get(version)?.alias === alias) return undefined;
  return { code: "version_not_found", message: `version ${version} is not registered for ${alias}` };
}

/** What the schema says against an item, by its first issue. */
export function invalid(
  code: string,
  issue: { readonly path: readonly PropertyKey[]; readonly message: string } | undefined,
): Problem {
  return { code, message: `${issue?.path.join(".") || "item"}: ${issue?.message}` };
}

export function invalidOutcome(error: { readonly issues: Parameters<typeof invalid>[1][] } | undefined): Problem {
  return invalid("outcome_invalid", error?.issues[0]);
}
