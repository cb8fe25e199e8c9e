/**
 * Whether an alias's last rollout still counts.
 */
import type { Alias, Policy, Rollout } from "@flagback/schemas";
import type { World } from "./world.ts";

/** A rollout that holds the alias's weights. */
export function isUnderWay(alias: Alias): boolean {
  return alias.rollout?.state === "exposing" || alias.rollout?.state === "paused";
}

/** The alias and its rollout. @throws Error where there is none: the machine lets no such command pass. */
export function rolloutOf(world: World, name: string): { readonly alias: Alias; readonly rollout: Rollout } {
  const alias = world.aliases.get(name);
  if (!alias?.rollout) throw new Error(`a command on ${name} passed the machine without a rollout`);
  return { alias, rollout: alias.rollout };
}

/** A rollout that the brain may still stop: under way, or promoted within its rollback window, or held until people decide. */
export function canRollBack(alias: Alias, now: string): boolean {
  if (isUnderWay(alias)) return true;
  const { rollout, previousStable } = alias;
  if (rollout?.state !== "promoted" || rollout.candidate !== alias.stable || !previousStable) return false;
  if (previousStable.version !== rollout.target) return false;
  return rollout.hold !== undefined || Date.parse(now) < Date.parse(previousStable.until);
}

/** The policy that holds for the alias's conversations: the frozen one of a rollout under way, else the alias's own. */
export function policyInForce(alias: Alias): Policy | null {
  return isUnderWay(alias) && alias.rollout ? alias.rollout.policy : alias.policy;
}
