/**
 * Locking a version by hand: nothing of its payload gets weight on the alias until somebody unlocks it.
 */
import type { Alias, Refusal, Version } from "@flagback/schemas";
import { weightsOf, withWeights } from "../allocation/index.ts";
import { reallocate } from "./aliases.ts";
import type { CommandOf } from "./commands.ts";
import { withoutFinishing } from "./finishing.ts";
import { aliasNotFound, versionNotFound } from "./refusals.ts";
import { canRollBack } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

/** Takes what weight it has. Refused for what serves as stable, as a rollback target, or in a rollout: that is rolled back. */
export function lock(world: World, command: CommandOf<"lock">, at: Circumstances): Transition {
  const alias = world.aliases.get(command.alias);
  if (!alias) return refused(aliasNotFound(world, command.alias));
  const version = world.versions.get(command.version);
  if (!version || version.alias !== alias.name) return refused(versionNotFound(world, command.version, alias.name));
  if (alias.locks.some(({ digest }) => digest === version.digest)) {
    return { kind: "unchanged", action: "alias.lock", summary: `${version.id} is locked on ${alias.name} already.` };
  }
  const isSame = (id: string) => world.versions.get(id)?.digest === version.digest;
  const needed = useOf(alias, version, isSame, at.now);
  if (needed) return refused(needed);

  const { stable } = alias;
  const kept = [...weightsOf(alias.allocation)].filter(([id]) => id !== stable && !isSame(id));
  const allocated =
    stable === null
      ? { allocation: alias.allocation }
      : reallocate(alias, () => withWeights(alias.allocation, stable, new Map(kept)));
  if ("code" in allocated) return refused(allocated);
  const entry = {
    digest: version.digest,
    version: version.id,
    reason: command.reason,
    at: at.now,
    by: at.actor.name,
  };
  return changed({
    ...emptyChange("alias.lock", `alias:${alias.name}`, `Locked ${version.id} on ${alias.name}.`),
    aliases: [
      {
        ...withoutFinishing(alias, ({ version: id }) => isSame(id)),
        allocation: allocated.allocation,
        locks: [...alias.locks, entry],
      },
    ],
    audit: { reason: command.reason, fromVersion: version.id },
  });
}

function useOf(alias: Alias, version: Version, isSame: (id: string) => boolean, now: string): Refusal | undefined {
  const { rollout, stable, name } = alias;
  const isRolledOut = rollout !== null && canRollBack(alias, now);
  if (isRolledOut && rollout.candidateDigest === version.digest) {
    return {
      code: "version_in_use",
      message: `${version.id} is being rolled out on ${name}, and its lock alone would leave the rollout without a candidate.`,
      hint: `Roll it back, which locks it: flagback rollback ${name} --reason "...".`,
    };
  }
  const use =
    stable !== null && isSame(stable)
      ? "the stable version"
      : isRolledOut && isSame(rollout.target)
        ? "what a rollback returns to"
        : undefined;
  return (
    use && {
      code: "version_in_use",
      message: `${version.id} can't be locked on ${name}: its payload is ${use}.`,
      hint: "Bring another version to 100 % and promote it first; writes stop at once with flagback stop.",
    }
  );
}
