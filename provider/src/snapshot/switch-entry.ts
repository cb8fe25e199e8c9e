/**
 * A kill switch as the provider holds it: its scopes taken apart and its answers made.
 */
import { type Attributes, type ParsedScope, parsedScopeMatches, parseScope } from "@flagback/core/evaluation";
import type { RuntimeKillSwitch } from "@flagback/schemas";
import { type Resolution, settled } from "./results.ts";

export interface SwitchEntry {
  readonly kind: "killSwitch";
  readonly document: RuntimeKillSwitch;
  readonly scopes: readonly ParsedScope[];
  readonly engaged: SwitchAnswer;
  readonly released: SwitchAnswer;
}

/** `trusted` while the lease lives; `stale` when it does not and the fail-safe has nothing to say, or has spoken. */
interface SwitchAnswer {
  readonly trusted: Resolution<boolean>;
  readonly stale: Resolution<boolean>;
}

export function switchEntry(document: RuntimeKillSwitch): SwitchEntry {
  const scopes = document.engaged.map((entry) => parseScope(entry.scope));
  // The same answer for everybody is static; one that looks at the caller is a match.
  const reason = scopes.every((scope) => scope.length === 0) ? "STATIC" : "TARGETING_MATCH";
  const answer = (value: boolean): SwitchAnswer => {
    const details = { value, variant: value ? "engaged" : "released", flagMetadata: { revision: document.revision } };
    return { trusted: settled({ ...details, reason }), stale: settled({ ...details, reason: "STALE" }) };
  };
  return { kind: "killSwitch", document, scopes, engaged: answer(true), released: answer(false) };
}

/** Whether any entry covers the context, as of the document. */
export function isSwitchEngaged(entry: SwitchEntry, context: Attributes): boolean {
  for (const scope of entry.scopes) if (parsedScopeMatches(scope, context)) return true;
  return false;
}
