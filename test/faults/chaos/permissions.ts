/**
 * What an audit log says is permitted: a replay of its rows, which asks no document. Pure.
 */
import type { AuditRow } from "./history.ts";

export interface Permissions {
  /** The candidate that has weight, by agent. */
  readonly exposed: ReadonlyMap<string, string>;
  readonly locked: ReadonlyMap<string, ReadonlySet<string>>;
  /** Scopes that the switch is engaged for, by who holds them. */
  readonly engaged: ReadonlyMap<string, string>;
}

export const NOTHING_PERMITTED_OR_ENGAGED: Permissions = {
  exposed: new Map(),
  locked: new Map(),
  engaged: new Map(),
};

const OPERATOR = "operator";

export function permissionsAfter(before: Permissions, row: AuditRow): Permissions {
  const [, name = ""] = row.target.split(":", 2);
  switch (row.action) {
    case "rollout.start":
    case "rollout.forward":
      return { ...before, exposed: new Map(before.exposed).set(name, row.toVersion ?? "") };
    case "rollback": {
      const exposed = new Map(before.exposed);
      exposed.delete(name);
      const locked = new Set(before.locked.get(name)).add(row.fromVersion ?? "");
      return {
        exposed,
        locked: new Map(before.locked).set(name, locked),
        engaged: new Map(before.engaged).set(holder(`incident:${row.incident}`, `agent=${name}`), `agent=${name}`),
      };
    }
    case "incident.recovered": {
      // The brain releases what its incident engaged, and nothing else.
      const engaged = new Map(before.engaged);
      engaged.delete(holder(`incident:${row.incident}`, `agent=${name}`));
      return { ...before, engaged };
    }
    case "alias.unlock": {
      const locked = new Set(before.locked.get(name));
      locked.delete(row.toVersion ?? "");
      return { ...before, locked: new Map(before.locked).set(name, locked) };
    }
    case "kill_switch.engage":
      return { ...before, engaged: engagedBy(before, OPERATOR, scopeOf(row)) };
    case "stop":
      return { ...before, engaged: engagedBy(before, OPERATOR, "*") };
    case "kill_switch.release":
      return {
        ...before,
        engaged: new Map([...before.engaged].filter(([, scope]) => scope !== scopeOf(row))),
      };
    default:
      return before;
  }
}

/** Names an entry of the switch, however many rows speak of it. `owner` is as the documents have it. */
export function holder(owner: string, scope: string): string {
  return `${owner.startsWith("token:") ? OPERATOR : owner} ${scope}`;
}

function engagedBy(before: Permissions, owner: string, scope: string): ReadonlyMap<string, string> {
  return new Map(before.engaged).set(holder(owner, scope), scope);
}

/** The operator's reasons end with the scope, because a row has no column for it. */
function scopeOf(row: AuditRow): string {
  return row.reason?.split(" ").at(-1) ?? "";
}

/** The reason of a request about a scope. */
export function reasonOf(id: string, scope?: string): string {
  return scope === undefined ? id : `${id} ${scope}`;
}

/** The request that a row's reason names. The brain's reasons name none that exists. */
export function requestIn(reason: string | null): string | undefined {
  return reason?.replace(/^manual: /, "").split(" ")[0];
}
