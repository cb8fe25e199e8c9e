/**
 * The version registry: immutable releases, identified by id and digest.
 */
import { type Alias, durationMs, MAX_PAST_STABLES, type Version } from "@flagback/schemas";
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
        message: `${command.id} can't be retired: it is ${use} of ${alias.name}.`,
        hint: "A rollback target never vanishes; retire it when it is out of use and its retention has passed.",
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

/** Whether what ended at a moment is still within the alias's retention. */
function isRetained(alias: Alias, endedAt: string, now: string): boolean {
  return Date.parse(now) < Date.parse(endedAt) + durationMs(alias.policy?.retention ?? DEFAULT_RETENTION);
}

/** Why a version is needed, as what it is of the alias. */
function useOf(alias: Alias, id: string, now: string): string | undefined {
  if (alias.stable === id) return "the stable version";
  if (alias.allocation.some((slot) => slot.version === id && slot.weight > 0)) return "serving traffic";
  if (isUnderWay(alias) && alias.rollout?.candidate === id) return "the candidate of the rollout under way";
  const previous = alias.previousStable;
  if (previous?.version === id && isRetained(alias, previous.until, now)) return "the previous stable version";
  if (alias.pastStables?.some((past) => past.version === id && isRetained(alias, past.at, now)))
    return "a version that was stable within the retention";
  if (alias.rollout?.target === id && canRollBack(alias, now)) return "the rollback target";
  if (alias.finishing?.some((entry) => entry.version === id)) return "a version that conversations may finish on";
  return undefined;
}
