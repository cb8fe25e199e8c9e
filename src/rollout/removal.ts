/**
 * Removing aliases and kill switches, unless something still hangs on them: whoever depends on one is named.
 */
import { type Alias, DEFAULT_KILL_SWITCH, type Refusal } from "@flagback/schemas";
import type { CommandOf } from "./commands.ts";
import { isUnsettled } from "./incidents.ts";
import { aliasNotFound, killSwitchNotFound } from "./refusals.ts";
import { canRollBack } from "./under-way.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

const STILL_NEEDED = "Name it in the configuration, or end what needs it first.";

/** Its versions stay registered, and agents that still resolve it get their own default. */
export function deleteAlias(world: World, { name }: CommandOf<"deleteAlias">, at: Circumstances): Transition {
  const alias = world.aliases.get(name);
  if (!alias) return refused(aliasNotFound(world, name));
  const needed = aliasNeeded(world, alias, at.now);
  if (needed) return refused(needed);
  return changed({
    ...emptyChange("alias.delete", `alias:${name}`, `Removed alias ${name}.`),
    deleted: [{ kind: "alias", key: name }],
    audit: { switchStatus: "pending" },
  });
}

/** Agents that still read it get their own default, which fails closed where they use flagback's toolkit. */
export function deleteKillSwitch(world: World, { key }: CommandOf<"deleteKillSwitch">): Transition {
  const killSwitch = world.killSwitches.get(key);
  if (!killSwitch) return refused(killSwitchNotFound(world, key));
  const needed = killSwitchNeeded(world, key, killSwitch.engaged.length);
  if (needed !== undefined) {
    return refused({
      code: "still_needed",
      message: `Kill switch ${key} can't be removed: ${needed}.`,
      hint: STILL_NEEDED,
    });
  }
  return changed({
    ...emptyChange("kill_switch.delete", `kill_switch:${key}`, `Removed kill switch ${key}.`),
    deleted: [{ kind: "killSwitch", key }],
    audit: { switchStatus: "pending" },
  });
}

/** Why a version that no file names any more is kept all the same: a lock on it says what nobody has answered yet. */
export function lockNeeded(world: World, id: string): Refusal | undefined {
  const version = world.versions.get(id);
  const alias = version && world.aliases.get(version.alias);
  const lock = alias?.locks.find((each) => each.digest === version?.digest);
  return (
    alias &&
    lock && {
      code: "version_locked",
      message: `Version ${id} can't be retired: it is locked on ${alias.name}.`,
      hint: `Name it in the configuration, or unlock it first: flagback unlock ${alias.name} ${id} --reason "..." --root-cause "...".`,
    }
  );
}

function aliasNeeded(world: World, alias: Alias, now: string): Refusal | undefined {
  const { name, rollout, locks } = alias;
  if (canRollBack(alias, now)) {
    const message = `Alias ${name} can't be removed: its rollout of ${rollout?.candidate} (${rollout?.state}) can still be rolled back.`;
    return { code: "rollout_in_progress", message, hint: STILL_NEEDED };
  }
  const [lock] = locks;
  if (lock) {
    const message = `Alias ${name} can't be removed: ${lock.version} is locked on it.`;
    return { code: "version_locked", message, hint: STILL_NEEDED };
  }
  const incident = [...world.incidents.values()].find((each) => each.alias === name && isUnsettled(each));
  const trigger = [...world.triggers.values()].find(({ action }) => action.kind !== "engage" && action.alias === name);
  const because = incident
    ? `its incident ${incident.id} is ${incident.state}`
    : trigger && `the trigger ${trigger.id} acts on it`;
  return because === undefined
    ? undefined
    : { code: "still_needed", message: `Alias ${name} can't be removed: ${because}.`, hint: STILL_NEEDED };
}

function killSwitchNeeded(world: World, key: string, entries: number): string | undefined {
  if (entries > 0) return "it is engaged";
  if (key === DEFAULT_KILL_SWITCH) return "every database has it";
  const user = [...world.aliases.values()].find((alias) =>
    [alias.policy, alias.rollout?.policy].some((policy) => policy?.onBreach.engage.includes(key)),
  );
  if (user) return `the policy of ${user.name} engages it`;
  const trigger = [...world.triggers.values()].find(({ action }) => action.kind === "engage" && action.key === key);
  return trigger && `the trigger ${trigger.id} engages it`;
}
