/**
 * What may not be dropped yet, however old it is.
 */
import type { World } from "@flagback/core";

export interface InUse {
  /**
   * Ids of incidents that hold a kill switch engaged or a version locked, or are of an alias's latest rollout, and of the
   * decision that people were asked for about that.
   */
  readonly incidents: readonly string[];
  readonly aliases: readonly {
    readonly name: string;
    /** The number of its latest rollout. */
    readonly rolloutNumber: number;
    /** Numbers of its rollouts with runs that are open. */
    readonly open: readonly number[];
  }[];
}

export function inUse(world: World, openRollouts: (alias: string) => readonly number[]): InUse {
  const incidents = new Set<string>();
  for (const { engaged } of world.killSwitches.values()) {
    for (const { owner } of engaged) if (owner.startsWith("incident:")) incidents.add(owner.slice("incident:".length));
  }
  for (const { rollout, locks } of world.aliases.values()) {
    // Its root cause is what unlocking waits for.
    for (const lock of locks) if (lock.incident !== undefined) incidents.add(lock.incident);
    const incident = rollout?.decisionId && world.decisions.get(rollout.decisionId);
    if (incident) incidents.add(incident);
  }
  for (const { id, alias, rolloutNumber } of world.asked.values()) {
    if (world.aliases.get(alias)?.rolloutNumber === rolloutNumber) incidents.add(id);
  }
  const aliases = [...world.aliases.values()].map(({ name, rolloutNumber }) => ({
    name,
    rolloutNumber,
    open: openRollouts(name),
  }));
  return { incidents: [...incidents], aliases };
}
