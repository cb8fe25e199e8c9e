/**
 * What an operator and the brain do to the documents of a test: each answers the documents that are different then. Pure.
 */
import { withWeight } from "@flagback/core";
import type { Documents } from "@flagback/core/evaluation";
import {
  FlagbackError,
  type Policy,
  type RuntimeAlias,
  type RuntimeDocument,
  type RuntimeKillSwitch,
  Scope,
} from "@flagback/schemas";
import { badFlags } from "./test-flags.ts";

export type OnBreach = Policy["onBreach"];

/** Engages a switch for a scope, as an operator does: doing it again changes nothing. @throws FlagbackError */
export function engaged(
  held: Documents,
  { key, scope, reason }: { readonly key: string; readonly scope: string; readonly reason: string },
  revision: number,
): readonly RuntimeDocument[] {
  const killSwitch = switchOf(held, key);
  const { success } = Scope.safeParse(scope);
  if (!success) throw badFlags([`${scope} is no scope; write * or attribute=value, such as agent=support-agent`]);
  const id = `test:${scope}`;
  if (killSwitch.engaged.some((entry) => entry.id === id)) return [];
  return [{ ...killSwitch, revision, engaged: [...killSwitch.engaged, { id, scope, reason }] }];
}

/** Releases every entry of exactly the scope, as an operator does. @throws FlagbackError */
export function released(held: Documents, key: string, scope: string, revision: number): readonly RuntimeDocument[] {
  const killSwitch = switchOf(held, key);
  const kept = killSwitch.engaged.filter((entry) => entry.scope !== scope);
  return kept.length === killSwitch.engaged.length ? [] : [{ ...killSwitch, revision, engaged: kept }];
}

/**
 * Rolls the alias's candidate back, as the brain does: its weight to stable, the version revoked, the switches engaged. A
 * second time changes nothing.
 * @throws FlagbackError `alias_not_found`, or `rollout_not_active` where there never was a candidate
 */
export function rolledBack(
  held: Documents,
  name: string,
  { engage, scope: breached, revoke }: OnBreach,
  revision: number,
): readonly RuntimeDocument[] {
  const alias = held.get(name);
  if (alias?.kind !== "alias") throw notThere("alias_not_found", "alias", name, keysOf(held, "alias"));
  if (alias.rollout === null || alias.stable === null) {
    if (Object.keys(alias.revoked).length > 0) return [];
    throw new FlagbackError({
      code: "rollout_not_active",
      message: `No rollout is under way on ${name}.`,
      hint: `Give it a candidate: set({ aliases: { ${JSON.stringify(name)}: { stable, candidate } } }).`,
    });
  }
  const { candidate } = alias.rollout;
  const { [candidate]: _withdrawn, ...versions } = alias.versions;
  const scope = breached === "*" ? "*" : `agent=${name}`;
  const entry = { id: `rollback:${name}`, scope, reason: `${candidate} was rolled back` };
  const after: RuntimeAlias = {
    ...alias,
    revision,
    allocation: withWeight(alias.allocation, alias.stable, candidate, 0),
    versions,
    rollout: null,
    revoked: { ...alias.revoked, [candidate]: revoke },
  };
  const switches = engage.flatMap((key) => {
    const killSwitch = held.get(key);
    if (killSwitch?.kind !== "killSwitch") return [];
    const others = killSwitch.engaged.filter(({ id }) => id !== entry.id);
    return [{ ...killSwitch, revision, engaged: [...others, entry] }];
  });
  return [after, ...switches];
}

function switchOf(held: Documents, key: string): RuntimeKillSwitch {
  const killSwitch = held.get(key);
  if (killSwitch?.kind === "killSwitch") return killSwitch;
  throw notThere("kill_switch_not_found", "kill switch", key, keysOf(held, "killSwitch"));
}

function keysOf(held: Documents, kind: RuntimeDocument["kind"]): readonly string[] {
  return [...held.values()].flatMap((document) => (document.kind === kind ? [document.key] : []));
}

function notThere(
  code: "alias_not_found" | "kill_switch_not_found",
  what: string,
  key: string,
  known: readonly string[],
): FlagbackError {
  return new FlagbackError({
    code,
    message: `There is no ${what} ${key}.`,
    hint: `What the test set: ${known.length > 0 ? known.join(", ") : "nothing"}.`,
  });
}
