/**
 * Kill switches: who holds them engaged, and for what.
 */
import { isDrillName, type KillSwitch, MAX_SWITCH_ENTRIES, type SwitchEntry } from "@flagback/schemas";
import { keyTaken, nameReserved } from "./aliases.ts";
import type { CommandOf } from "./commands.ts";
import { killSwitchNotFound } from "./refusals.ts";
import { type Circumstances, changed, emptyChange, refused, type Transition, type World } from "./world.ts";

/** Engages a switch for a scope. The same person engaging the same scope again changes nothing. */
export function engage(world: World, command: CommandOf<"engage">, at: Circumstances): Transition {
  const killSwitch = world.killSwitches.get(command.key);
  if (!killSwitch) return refused(killSwitchNotFound(world, command.key));
  if (command.until !== undefined && Date.parse(command.until) <= Date.parse(at.now)) {
    return refused({
      code: "bad_request",
      message: `until is ${command.until}, which is not in the future (now ${at.now}).`,
      hint: "Give a later moment, or leave it out to engage until somebody releases.",
    });
  }
  const owner = ownerOf(at);
  const same = killSwitch.engaged.some(
    (entry) => entry.owner === owner && entry.scope === command.scope && entry.until === command.until,
  );
  const action = "kill_switch.engage";
  if (same) return { kind: "unchanged", action, summary: `${command.key} is engaged for ${command.scope} already.` };
  if (killSwitch.engaged.length >= MAX_SWITCH_ENTRIES) {
    return refused({
      code: "bad_request",
      message: `${command.key} is held by ${MAX_SWITCH_ENTRIES} entries, which is the limit.`,
      hint: "Release entries that are no longer needed, or engage the scope *.",
    });
  }
  const entry: SwitchEntry = {
    id: command.entryId,
    owner,
    scope: command.scope,
    reason: command.reason,
    at: at.now,
    ...(command.until === undefined ? {} : { until: command.until }),
  };
  return changed({
    ...emptyChange(action, `kill_switch:${command.key}`, `Engaged ${command.key} for ${command.scope}.`),
    killSwitches: [{ ...killSwitch, engaged: [...killSwitch.engaged, entry] }],
    audit: { reason: command.reason, switchStatus: "pending" },
  });
}

/** Releases every entry of exactly this scope, whoever holds it. */
export function release(world: World, command: CommandOf<"release">): Transition {
  const killSwitch = world.killSwitches.get(command.key);
  if (!killSwitch) return refused(killSwitchNotFound(world, command.key));
  const kept = killSwitch.engaged.filter((entry) => entry.scope !== command.scope);
  const action = "kill_switch.release";
  if (kept.length === killSwitch.engaged.length) {
    const held = killSwitch.engaged.map((entry) => entry.scope);
    const summary = `${command.key} is not engaged for ${command.scope}${held.length > 0 ? `; it is for ${held.join(" and ")}` : ""}.`;
    return { kind: "unchanged", action, summary };
  }
  const rest = kept.length > 0 ? `; still engaged for ${kept.map((entry) => entry.scope).join(" and ")}` : "";
  return changed({
    ...emptyChange(action, `kill_switch:${command.key}`, `Released ${command.key} for ${command.scope}${rest}.`),
    killSwitches: [{ ...killSwitch, engaged: kept }],
    audit: { reason: command.reason, switchStatus: "pending" },
  });
}

/** Removes the entries whose `until` has come. */
export function expireEntries(world: World, at: Circumstances): Transition {
  const nowMs = Date.parse(at.now);
  const isOver = (entry: SwitchEntry) => entry.until !== undefined && Date.parse(entry.until) <= nowMs;
  const killSwitches = [...world.killSwitches.values()]
    .filter((killSwitch) => killSwitch.engaged.some(isOver))
    .map((killSwitch) => ({ ...killSwitch, engaged: killSwitch.engaged.filter((entry) => !isOver(entry)) }));
  const action = "kill_switch.expire";
  const keys = killSwitches.map((killSwitch) => killSwitch.key).join(", ");
  if (killSwitches.length === 0) return { kind: "unchanged", action, summary: "No entry has expired." };
  return changed({
    ...emptyChange(action, `kill_switch:${keys}`, `Released what was engaged until now: ${keys}.`),
    killSwitches,
    audit: { switchStatus: "pending" },
  });
}

/**
 * Engages every kill switch everywhere, until somebody releases it: an entry that ends by itself does not stand in for that.
 * Those of drills stop nobody, so they are left alone.
 */
export function stopEverything(world: World, command: CommandOf<"stopEverything">, at: Circumstances): Transition {
  const owner = ownerOf(at);
  const killSwitches: KillSwitch[] = [...world.killSwitches.values()]
    .filter(
      ({ key, engaged }) =>
        !isDrillName(key) &&
        !engaged.some((entry) => entry.owner === owner && entry.scope === "*" && entry.until === undefined),
    )
    .map((killSwitch) => ({
      ...killSwitch,
      engaged: [...killSwitch.engaged, { id: command.entryId, owner, scope: "*", reason: command.reason, at: at.now }],
    }));
  if (killSwitches.length === 0) {
    return { kind: "unchanged", action: "stop", summary: "Every kill switch is engaged everywhere already." };
  }
  const keys = killSwitches.map((killSwitch) => killSwitch.key).join(", ");
  return changed({
    ...emptyChange("stop", "kill_switch:*", `Engaged everywhere: ${keys}.`),
    killSwitches,
    audit: { reason: command.reason, switchStatus: "pending" },
    alerts: [{ kind: "stop", text: `Stop by ${at.actor.name}: ${keys} engaged everywhere, reason=${command.reason}` }],
  });
}

/** Creates a switch, released, or changes its fail-safe. */
export function putKillSwitch(world: World, command: CommandOf<"putKillSwitch">): Transition {
  const before = world.killSwitches.get(command.key);
  const taken = keyTaken(world, command.key, "kill switch") ?? (before ? undefined : nameReserved(command.key));
  if (taken) return refused(taken);
  const { engage: engaged, afterMs } = command.failSafe;
  if (before?.failSafe.engage === engaged && before.failSafe.afterMs === afterMs) {
    return { kind: "unchanged", action: "kill_switch.put", summary: `${command.key} is so already.` };
  }
  const action = before ? "kill_switch.update" : "kill_switch.create";
  return changed({
    ...emptyChange(
      action,
      `kill_switch:${command.key}`,
      `${before ? "Changed" : "Created"} kill switch ${command.key}.`,
    ),
    killSwitches: [
      {
        key: command.key,
        engaged: before?.engaged ?? [],
        failSafe: command.failSafe,
        revision: before?.revision ?? 0,
        edit: before?.edit ?? 0,
      },
    ],
  });
}

function ownerOf({ actor }: Circumstances): string {
  return `${actor.kind === "trigger" ? "trigger" : "token"}:${actor.id ?? actor.name}`;
}
