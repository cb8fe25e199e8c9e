/**
 * Refusals that several transitions share, in one voice.
 */
import type { Refusal } from "@flagback/schemas";
import type { World } from "./world.ts";

export function aliasNotFound(world: World, name: string): Refusal {
  const known = [...world.aliases.keys()];
  return {
    code: "alias_not_found",
    message: `There is no alias ${name}.`,
    hint: known.length > 0 ? `Known aliases: ${listed(known)}.` : "Create one with flagback apply -f FILE.",
  };
}

export function versionNotFound(world: World, id: string, alias?: string): Refusal {
  const known = [...world.versions.values()].filter((version) => alias === undefined || version.alias === alias);
  return {
    code: "version_not_found",
    message: `Version ${id} is not registered${alias === undefined ? "" : ` for ${alias}`}.`,
    hint:
      known.length > 0
        ? `Registered: ${listed(known.map((version) => version.id))}. Register another with flagback register ${id}.`
        : `Register it with flagback register ${id}.`,
  };
}

export function versionRetired(id: string): Refusal {
  return {
    code: "version_retired",
    message: `Version ${id} is retired.`,
    hint: "Register the same payload under a new version id if it is needed again.",
  };
}

export function versionLocked(id: string, alias: string, reason: string): Refusal {
  return {
    code: "version_locked",
    message: `Version ${id} is locked on ${alias}: ${reason}`,
    hint: `Fix it and register a new version, or unlock it with flagback unlock ${alias} ${id} --reason "..." --root-cause "...".`,
  };
}

export function killSwitchNotFound(world: World, key: string): Refusal {
  return {
    code: "kill_switch_not_found",
    message: `There is no kill switch ${key}.`,
    hint: `Known kill switches: ${listed([...world.killSwitches.keys()])}.`,
  };
}

function listed(names: readonly string[]): string {
  const most = 8;
  return names.length <= most ? names.join(", ") : `${names.slice(0, most).join(", ")} and ${names.length - most} more`;
}
