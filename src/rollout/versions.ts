/**
 * The version registry: immutable releases, identified by id and digest.
 */
import { type Alias, durationMs, MAX_PAST_STABLES, type Version } from "@flagback/schemas";
import { nameReserved } from "./aliases.ts";
import type { CommandOf, VersionDraft } from "./commands.ts";
import { payloadRefusal } from "./payload-schema.ts";
import { versionNotFound } from "./refusals.ts";
import { canRollBack, isUnderWay } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

/** How long a version that was stable is kept where the alias has no policy. */
const DEFAULT_RETENTION = "30d";

/**
 * Digest of a version's payload. A payload of `{}` says nothing, so there the id is the content: otherwise two versions
 * registered without a payload would share a digest, and locking the one would lock the other.
 */
export function versionDigest(
  draft: Pick<VersionDraft, "id" | "payload">,
  digestOf: Circumstances["digestOf"],
): string {
  const { id, payload } = draft;
  const isEmpty =
    typeof payload === "object" && payload !== null && !Array.isArray(payload) && Object.keys(payload).length === 0;
  return digestOf(isEmpty ? { id } : payload);
}

/** Registers a version; the same id with the same digest changes nothing, with another digest it is refused. */
export function registerVersion(world: World, command: CommandOf<"registerVersion">, at: Circumstances): Transition {
  const draft = command.version;
  const reserved = nameReserved(draft.id) ?? nameReserved(draft.alias);
  if (reserved) return refused(reserved);
  const digest = versionDigest(draft, at.digestOf);
  const before = world.versions.get(draft.id);
  if (before?.digest === digest && before.alias === draft.alias) {
    return { kind: "unchanged", action: "version.register", summary: `${draft.id} is registered already.` };
  }
  if (before) {
    return refused({
      code: "version_digest_mismatch",
      message:
        before.alias === draft.alias
          ? `${draft.id} is registered with another payload (digest ${before.digest.slice(0, 12)}, not ${digest.slice(0, 12)}).`
          : `${draft.id} is registered for alias ${before.alias}, not ${draft.alias}.`,
      hint: "Versions are immutable; register the change under a new version id.",
    });
  }
  const alias = world.aliases.get(draft.alias);
  const unfit = payloadRefusal(alias, draft, at.payloads);
  if (unfit) return refused(unfit);
  const version: Version = {
    ...draft,
    labels: { ...draft.labels },
    digest,
    createdAt: at.now,
    createdBy: at.actor.name,
  };
  const isLocked = alias?.locks.some((lock) => lock.digest === digest);
  return changed({
    ...emptyChange("version.register", `version:${draft.id}`, `Registered ${draft.id} for ${draft.alias}.`),
    versions: [version],
    // Runtimes see it at once: it is revoked under this id as well.
    aliases: alias && isLocked ? [alias] : [],
    audit: { toVersion: draft.id },
  });
}

/** Retires a version, unless that would take a rollback target away. */
export function retireVersion(world: World, command: CommandOf<"retireVersion">, at: Circumstances): Transition {
  const version = world.versions.get(command.id);
  if (!version) return refused(versionNotFound(world, command.id));
  if (version.retiredAt) {
    return { kind: "unchanged", action: "version.retire", summary: `${command.id} is retired already.` };
  }
  for (const alias of world.aliases.values()) {
    const use = useOf(alias, command.id, at.now);
    if (use) {
      return refused({
        code: "version_in_use",
        message: `${command.id} can't be retired: it is ${use.as} of ${alias.name}.`,
        hint:
          use.until === undefined
            ? "What a rollback may need never vanishes; retire it when it is out of use and its retention has passed."
            : `What a rollback may need never vanishes; it can be retired from ${use.until} on.`,
      });
    }
  }
  return changed({
    ...emptyChange("version.retire", `version:${command.id}`, `Retired ${command.id}.`),
    versions: [{ ...version, retiredAt: at.now }],
    audit: { reason: command.reason, fromVersion: command.id },
  });
}

/** Versions that were stable within the alias's retention, with one more that ceases to be now. */
export function pastStables(alias: Alias, version: string, now: string): NonNullable<Alias["pastStables"]> {
  const kept = (alias.pastStables ?? []).filter((past) => past.version !== version && isRetained(alias, past.at, now));
  return [...kept, { version, at: now }].slice(-MAX_PAST_STABLES);
}

function isRetained(alias: Alias, endedAt: string, now: string): boolean {
  return Date.parse(now) < Date.parse(retainedUntil(alias, endedAt));
}

/** The end of the alias's retention of what ended at a moment. */
function retainedUntil({ policy }: Alias, endedAt: string): string {
  return new Date(Date.parse(endedAt) + durationMs(policy?.retention ?? DEFAULT_RETENTION)).toISOString();
}

/** Why a version is needed, as what it is of the alias, and until when, where that is known. */
function useOf(alias: Alias, id: string, now: string): { readonly as: string; readonly until?: string } | undefined {
  const { stable, allocation, rollout, previousStable: previous, pastStables: past = [], finishing = [] } = alias;
  if (stable === id) return { as: "the stable version" };
  if (allocation.some((slot) => slot.version === id && slot.weight > 0)) return { as: "serving traffic" };
  if (rollout?.candidate === id && isUnderWay(alias)) return { as: "the candidate of the rollout under way" };
  if (rollout?.target === id && rollout.hold && canRollBack(alias, now)) return { as: "the rollback target" };
  if (previous?.version === id && isRetained(alias, previous.until, now)) {
    return { as: "the previous stable version", until: retainedUntil(alias, previous.until) };
  }
  const ended = past.find((each) => each.version === id && isRetained(alias, each.at, now));
  if (ended) return { as: "a version that was stable within the retention", until: retainedUntil(alias, ended.at) };
  if (rollout?.target === id && canRollBack(alias, now)) return { as: "the rollback target" };
  const open = finishing.find((entry) => entry.version === id);
  return open && { as: "a version that conversations may finish on", until: open.until };
}
