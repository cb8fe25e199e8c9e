/**
 * How a rollout ended, for those who wait for it.
 */
import { isUnderWay, type World } from "@flagback/core";
import type { RolloutKey } from "../store/ledger-writes.ts";

export type RolloutResult = "promoted" | "rolled_back";

/** Null while it is under way, also where it is paused or held. A promotion that is taken back is a rollback. */
export function resultOf(world: World, { alias: name, rolloutNumber }: RolloutKey): RolloutResult | null {
  const alias = world.aliases.get(name);
  if (!alias?.rollout || alias.rolloutNumber < rolloutNumber) return null;
  if (alias.rolloutNumber === rolloutNumber) {
    if (isUnderWay(alias)) return null;
    return alias.rollout.state === "promoted" ? "promoted" : "rolled_back";
  }
  // Another one has begun since; of an earlier one only a rollback leaves an incident.
  const isRolledBack = [...world.incidents.values()].some(
    (incident) => incident.alias === name && incident.rolloutNumber === rolloutNumber,
  );
  return isRolledBack ? "rolled_back" : "promoted";
}
