/**
 * Versions that lost their weight other than by a rollback, and that conversations may end on while the policy says
 * `onWithdraw: finish`. Nobody else gets them: they are in no allocation. A version that is rolled back leaves the list.
 */
import { type Alias, durationMs, MAX_FINISHING, type Policy } from "@flagback/schemas";
import { weightOf } from "../allocation/index.ts";
import { policyInForce } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, type Transition, type World } from "./world.ts";

/** The alias with the versions noted that it took the weight from, where its policy in force lets conversations finish. */
export function withFinishing(alias: Alias, policy: Policy | null, versions: readonly string[], now: string): Alias {
  if (policy?.onWithdraw !== "finish" || versions.length === 0) return alias;
  const until = new Date(Date.parse(now) + durationMs(policy.rollbackWindow)).toISOString();
  const others = (alias.finishing ?? []).filter((entry) => !versions.includes(entry.version));
  const finishing = [...others, ...versions.map((version) => ({ version, until }))];
  return { ...alias, finishing: finishing.slice(-MAX_FINISHING) };
}

/** The alias without the entries that `isOver` says. */
export function withoutFinishing(alias: Alias, isOver: (entry: { version: string; until: string }) => boolean): Alias {
  const { finishing, ...rest } = alias;
  const kept = finishing?.filter((entry) => !isOver(entry)) ?? [];
  if (kept.length === finishing?.length) return alias;
  return kept.length > 0 ? { ...rest, finishing: kept } : rest;
}

/** The versions that runtimes may be told of: still registered for it, without weight, and under no lock. */
export function finishingVersions(world: World, alias: Alias): string[] {
  if (policyInForce(alias)?.onWithdraw !== "finish") return [];
  const locked = new Set(alias.locks.map((lock) => lock.digest));
  return (alias.finishing ?? []).flatMap(({ version: id }) => {
    const version = world.versions.get(id);
    const isServed = id === alias.stable || weightOf(alias.allocation, id) > 0;
    return version && !version.retiredAt && !isServed && !locked.has(version.digest) ? [id] : [];
  });
}

export function hasExpiredFinishing({ finishing }: Alias, nowMs: number): boolean {
  return finishing?.some((entry) => Date.parse(entry.until) <= nowMs) ?? false;
}

/** Ends what conversations could finish on until now. */
export function expireFinishing(world: World, at: Circumstances): Transition {
  const nowMs = Date.parse(at.now);
  const expired = [...world.aliases.values()].filter((alias) => hasExpiredFinishing(alias, nowMs));
  const action = "alias.expire";
  if (expired.length === 0) return { kind: "unchanged", action, summary: "No version's time to finish is over." };
  const isOver = (entry: { until: string }) => Date.parse(entry.until) <= nowMs;
  const over = expired.flatMap(({ finishing = [] }) => finishing.filter(isOver).map((entry) => entry.version));
  return changed({
    ...emptyChange(
      action,
      `alias:${expired.map((alias) => alias.name).join(", ")}`,
      `Conversations can no longer finish on ${over.join(", ")}.`,
    ),
    aliases: expired.map((alias) => withoutFinishing(alias, isOver)),
  });
}
