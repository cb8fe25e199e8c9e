/**
 * Whether an alias's last rollout still counts.
 */
import type { Alias, Policy } from "@flagback/schemas";

/** A rollout that holds the alias's weights. */
export function isUnderWay(alias: Alias): boolean {
  return alias.rollout?.state === "exposing" || alias.rollout?.state === "paused";
}

/** A rollout that the brain may still stop: under way, or promoted within its rollback window. */
export function canRollBack(alias: Alias, now: string): boolean {
  if (isUnderWay(alias)) return true;
  const { rollout, previousStable } = alias;
  if (rollout?.state !== "promoted" || rollout.candidate !== alias.stable || !previousStable) return false;
  return previousStable.version === rollout.target && Date.parse(now) < Date.parse(previousStable.until);
}

/** The policy that holds for the alias's conversations: the frozen one of a rollout under way, else the alias's own. */
export function policyInForce(alias: Alias): Policy | null {
  return isUnderWay(alias) && alias.rollout ? alias.rollout.policy : alias.policy;
}
