/**
 * Unlocking a version for another try: somebody takes it on, and says what the cause was.
 */
import type { Incident } from "@flagback/schemas";
import type { CommandOf } from "./commands.ts";
import { withRootCause, withTimeline } from "./incidents.ts";
import { aliasNotFound } from "./refusals.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

/** Lets a locked digest have weight again. Refused until the root cause of the incident that locked it is noted. */
export function unlock(world: World, command: CommandOf<"unlock">, at: Circumstances): Transition {
  const alias = world.aliases.get(command.alias);
  if (!alias) return refused(aliasNotFound(world, command.alias));
  const digest = command.digest ?? world.versions.get(command.version ?? "")?.digest;
  const lock = alias.locks.find((each) => each.digest === digest);
  if (!lock) {
    const known = alias.locks.map((each) => each.version);
    return refused({
      code: "no_lock",
      message: `${command.version ?? command.digest} is not locked on ${alias.name}.`,
      hint: known.length > 0 ? `Locked there: ${known.join(", ")}.` : `Nothing is locked on ${alias.name}.`,
    });
  }
  const incident = lock.incident === undefined ? undefined : world.incidents.get(lock.incident);
  if (incident && !incident.rootCause && command.rootCause === undefined) {
    return refused({
      code: "root_cause_missing",
      message: `${lock.version} stays locked on ${alias.name}: nobody has noted the root cause of ${incident.id}.`,
      hint: `Say what it was: flagback incident note ${incident.id} --root-cause "...", or unlock with --root-cause "...".`,
    });
  }
  const text = `Unlocked ${lock.version} on ${alias.name}.`;
  const noted = (found: Incident): Incident =>
    command.rootCause === undefined || found.rootCause ? found : withRootCause(found, command.rootCause, at);
  return changed({
    ...emptyChange("alias.unlock", `alias:${alias.name}`, text),
    aliases: [{ ...alias, locks: alias.locks.filter((each) => each.digest !== digest) }],
    incidents: incident ? [withTimeline(noted(incident), at, `${text} Reason: ${command.reason}`)] : [],
    audit: {
      reason: command.reason,
      toVersion: lock.version,
      ...(lock.incident === undefined ? {} : { incident: lock.incident }),
    },
  });
}
