/**
 * Whether a report may be taken at all: by its token, and because what it speaks of exists.
 */
import type { World } from "@flagback/core";
import { shortened } from "../config/problems.ts";

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

/** An item that the schema refused. zod builds the error when it is first read, which takes far longer than to refuse. */
interface Refused {
  readonly error: { readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[] };
}

/**
 * Items that are told why the schema refuses them: of one request, or of one runtime until its counts are durable. It takes ten
 * microseconds to say why, for an item of two bytes: requests and frames of nothing else would keep everybody waiting.
 */
export const MAX_EXPLAINED_ITEMS = 16;

/** What the schema says against an item, by its first issue; without `refused`, that the items before it say why. */
export function invalidItem(code: "outcome_invalid" | "feedback_invalid", refused: Refused | undefined): Problem {
  if (refused === undefined) {
    return { code, message: `item: not as the schema asks; the ${MAX_EXPLAINED_ITEMS} such items before it say why` };
  }
  const [issue] = refused.error.issues;
  // Both may repeat a key of the item's, however long.
  return { code, message: `${shortened(issue?.path.join(".") || "item")}: ${shortened(issue?.message ?? "")}` };
}

/** Says of each refused item of one request what is wrong with it, as long as that is said of any. */
export function refusals(code: "outcome_invalid" | "feedback_invalid"): (refused: Refused) => Problem {
  let told = 0;
  return (refused) => invalidItem(code, told++ < MAX_EXPLAINED_ITEMS ? refused : undefined);
}
