/**
 * What runtimes see of the world: the documents that snapshots and deltas carry.
 */
import {
  type Alias,
  type DocumentRef,
  durationMs,
  type Flag,
  type KillSwitch,
  type RuntimeAlias,
  type RuntimeDocument,
} from "@flagback/schemas";
import { weightsOf } from "../allocation/index.ts";
import { latencyLimitsOf } from "../brain/index.ts";
import { finishingVersions } from "./finishing.ts";
import { policyInForce } from "./under-way.ts";
import type { Change, World } from "./world.ts";

const DEFAULT_OUTCOME_TIMEOUT_MS = 60_000;

/** Every document as runtimes see it. */
export function runtimeDocuments(world: World): RuntimeDocument[] {
  return [
    ...[...world.aliases.values()].map((alias) => runtimeAlias(world, alias)),
    ...[...world.killSwitches.values()].map(runtimeKillSwitch),
    ...[...world.flags.values()].map(runtimeFlag),
  ];
}

/**
 * The world with a change's documents stamped with the revision, and what runtimes see of it. `put` and `deleted` are empty
 * where runtimes see nothing: then the change takes no revision.
 */
export function visibleChange(
  before: World,
  after: World,
  change: Change,
): { readonly put: RuntimeDocument[]; readonly deleted: readonly DocumentRef[] } {
  const aliases = new Set(change.aliases.map((alias) => alias.name));
  const switches = new Set(change.killSwitches.map((killSwitch) => killSwitch.key));
  const flags = new Set(change.flags.map((flag) => flag.key));
  const put = [
    ...[...aliases].map((name) => [projected(before, "alias", name), projected(after, "alias", name)] as const),
    ...[...switches].map((key) => [projected(before, "killSwitch", key), projected(after, "killSwitch", key)] as const),
    ...[...flags].map((key) => [projected(before, "flag", key), projected(after, "flag", key)] as const),
  ].flatMap(([was, is]) => (is && JSON.stringify(was) !== JSON.stringify(is) ? [is] : []));
  const deleted = change.deleted.flatMap(({ kind, key }) =>
    kind !== "trigger" && projected(before, kind, key) ? [{ kind, key }] : [],
  );
  return { put, deleted };
}

/** One document as runtimes see it; `undefined` where it does not exist. */
export function projected(world: World, kind: RuntimeDocument["kind"], key: string): RuntimeDocument | undefined {
  switch (kind) {
    case "alias": {
      const alias = world.aliases.get(key);
      return alias && runtimeAlias(world, alias);
    }
    case "killSwitch": {
      const killSwitch = world.killSwitches.get(key);
      return killSwitch && runtimeKillSwitch(killSwitch);
    }
    case "flag": {
      const flag = world.flags.get(key);
      return flag && runtimeFlag(flag);
    }
  }
}

function runtimeAlias(world: World, alias: Alias): RuntimeAlias {
  const policy = alias.rollout?.policy ?? alias.policy;
  const latencyLimitsMs = policy ? latencyLimitsOf(policy) : [];
  const finishing = finishingVersions(world, alias);
  const stable = alias.stable === null ? [] : [alias.stable];
  const served = new Set([...weightsOf(alias.allocation).keys(), ...stable, ...finishing]);
  const active = alias.rollout?.state === "exposing" || alias.rollout?.state === "paused" ? alias.rollout : null;
  return {
    kind: "alias",
    key: alias.name,
    revision: alias.revision,
    salt: alias.salt,
    allocation: alias.allocation,
    stable: alias.stable,
    versions: Object.fromEntries(
      [...served].sort().flatMap((id) => {
        const version = world.versions.get(id);
        return version ? [[id, { payload: version.payload, digest: version.digest }]] : [];
      }),
    ),
    rollout: active && { rolloutNumber: active.rolloutNumber, candidate: active.candidate, stage: active.stage },
    revoked: Object.fromEntries(
      lockedVersions(world, alias).map((id) => [id, policy?.onBreach.revoke ?? "block_writes"]),
    ),
    outcomeTimeoutMs: policy ? durationMs(policy.outcomeTimeout) : DEFAULT_OUTCOME_TIMEOUT_MS,
    ...(latencyLimitsMs.length > 0 ? { latencyLimitsMs } : {}),
    onLeaseLapse: policy?.onLeaseLapse ?? "stable",
    ...(policyInForce(alias)?.stickiness === "conversation" ? { stickiness: "conversation" } : {}),
    ...(finishing.length > 0 ? { finishing } : {}),
  };
}

/** Every version id of the alias that carries a locked digest. */
function lockedVersions(world: World, alias: Alias): string[] {
  if (alias.locks.length === 0) return [];
  const digests = new Set(alias.locks.map((lock) => lock.digest));
  return [...world.versions.values()]
    .filter((version) => version.alias === alias.name && digests.has(version.digest) && version.id !== alias.stable)
    .map((version) => version.id)
    .sort();
}

function runtimeFlag({ key, definition, revision }: Flag): RuntimeDocument {
  return { kind: "flag", key, revision, definition };
}

function runtimeKillSwitch(killSwitch: KillSwitch): RuntimeDocument {
  return {
    kind: "killSwitch",
    key: killSwitch.key,
    revision: killSwitch.revision,
    engaged: killSwitch.engaged.map(({ id, scope, reason }) => ({ id, scope, reason })),
    failSafe: killSwitch.failSafe,
  };
}
