/**
 * Whether a kill switch stops a caller.
 */
import type { RuntimeKillSwitch } from "@flagback/schemas";
import { type Attributes, scopeMatches } from "./scope.ts";

/** Engaged if any entry's scope covers the context. */
export function isEngaged(killSwitch: Pick<RuntimeKillSwitch, "engaged">, context: Attributes): boolean {
  return killSwitch.engaged.some((entry) => scopeMatches(entry.scope, context));
}
