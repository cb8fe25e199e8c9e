/**
 * Judges what runtimes read: nothing that they had acknowledged as withdrawn, nothing for longer than the lease after it was
 * withdrawn, and a rollback as a whole. Pure.
 */
import { type Audience, audienceOf, LEASE_MS, stableOf } from "./cast.ts";
import type { ChaosEvent, Rule, Violation } from "./history.ts";
import type { Permissions } from "./permissions.ts";
import { firstOutside, type Moment, PermissionWindows, type Sightings } from "./timeline.ts";

type Read = Extract<ChaosEvent, { kind: "read" }>;

export function checkReads(reads: readonly Read[], moments: readonly Moment[], sightings: Sightings): Violation[] {
  const windows = new Map<string, PermissionWindows>();
  const windowsOf = (name: string, permits: (permissions: Permissions) => boolean): PermissionWindows => {
    const found = windows.get(name) ?? new PermissionWindows(moments, sightings, permits);
    windows.set(name, found);
    return found;
  };
  return reads.flatMap((read): Violation[] => {
    const audience = audienceOf(read.runtime);
    const { agent, tenant } = audience;
    const { version, mayWrite } = read;
    const isCandidate = version !== null && version !== stableOf(agent);
    const exposes = (permissions: Permissions) => permissions.exposed.get(agent) === version;
    const allows = (permissions: Permissions) => mayAct(permissions, audience);
    const serving = isCandidate
      ? outside(read, windowsOf(`serves ${version}`, exposes), "withdrawn_version_served")
      : null;
    const writing = mayWrite ? outside(read, windowsOf(`writes ${agent} ${tenant}`, allows), "kill_lost") : null;
    const found = [serving, writing].filter((each) => each !== null);
    if (found.length > 0 || !isCandidate || !mayWrite) return found;
    // Each by itself was permitted by some revision, so there must be one that permits both.
    const both = windowsOf(`both ${version} ${tenant}`, (each) => exposes(each) && allows(each));
    return [outside(read, both, "half_transaction")].filter((each) => each !== null);
  });
}

/** What is wrong with going by a permission during the reads; null where nothing is. */
function outside(read: Read, windows: PermissionWindows, rule: Rule): Violation | null {
  const during = { fromMs: read.firstMs, toMs: read.lastMs };
  const never = firstOutside(during, windows.after(read.acknowledged, Number.POSITIVE_INFINITY));
  if (never !== null) return { rule, detail: describe(read, never) };
  const late = firstOutside(during, windows.after(read.acknowledged, LEASE_MS));
  return late === null ? null : { rule: "lease_bound_broken", detail: describe(read, late) };
}

/** No scope of the cast asks for more than one attribute, and every read says both. */
function mayAct({ engaged }: Permissions, { agent, tenant }: Audience): boolean {
  const matching = ["*", `agent=${agent}`, `tenant=${tenant}`];
  return ![...engaged.values()].some((scope) => matching.includes(scope));
}

function describe({ runtime, version, mayWrite, acknowledged, firstMs, lastMs }: Read, atMs: number): string {
  const { agent, tenant } = audienceOf(runtime);
  const answer = `${version} and ${mayWrite ? "may write" : "may not write"}`;
  const when = `from ${firstMs.toFixed(1)} to ${lastMs.toFixed(1)} ms, wrong from ${atMs.toFixed(1)} on`;
  return `runtime ${runtime} (${agent}, ${tenant}) reads ${answer}, had acknowledged ${acknowledged}: ${when}`;
}
