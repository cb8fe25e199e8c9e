/**
 * Changes to an allocation that move the least traffic possible (DESIGN 4): the traffic moved always equals the weight changed.
 */
import { MAX_SLOTS, type Slot, TOTAL_WEIGHT } from "@flagback/schemas";

/** The allocation that gives everything to one version. */
export function wholeAllocation(version: string): Slot[] {
  return [{ version, weight: TOTAL_WEIGHT }];
}

/** A version's weight, summed over its slots, in thousandths of a percent. */
export function weightOf(allocation: readonly Slot[], version: string): number {
  return allocation.reduce((sum, slot) => (slot.version === version ? sum + slot.weight : sum), 0);
}

/** Every version with weight, and its weight. */
export function weightsOf(allocation: readonly Slot[]): Map<string, number> {
  const weights = new Map<string, number>();
  for (const slot of allocation) {
    if (slot.weight > 0) weights.set(slot.version, (weights.get(slot.version) ?? 0) + slot.weight);
  }
  return weights;
}

/**
 * Gives `version` the weight, taking from or giving to `stable` only. Growth takes stable's buckets, lowest first;
 * shrinking gives back the latest taken.
 * @throws RangeError where stable has not enough weight to give, where the two are the same version, or where the result
 * would need more than 64 slots.
 */
export function withWeight(allocation: readonly Slot[], stable: string, version: string, weight: number): Slot[] {
  if (version === stable) throw new RangeError(`${version} is the stable version; set the other versions' weights`);
  const change = weight - weightOf(allocation, version);
  if (change > weightOf(allocation, stable)) {
    throw new RangeError(`${stable} has ${weightOf(allocation, stable)} of weight left, not ${change}`);
  }
  const moved =
    change >= 0
      ? takeLowest(allocation, stable, version, change)
      : takeLowest(reversed(allocation), version, stable, -change);
  const slots = merged(change >= 0 ? moved : reversed(moved));
  if (slots.length > MAX_SLOTS)
    throw new RangeError(`the allocation would need ${slots.length} slots; ${MAX_SLOTS} is the limit`);
  return slots;
}

/**
 * Moves an allocation to the wanted weights; whatever they leave goes to stable. Shrinks first, so that growth finds
 * stable's buckets.
 * @throws RangeError as {@link withWeight}.
 */
export function withWeights(allocation: readonly Slot[], stable: string, wanted: ReadonlyMap<string, number>): Slot[] {
  const target = (version: string) => wanted.get(version) ?? 0;
  const others = [...new Set([...weightsOf(allocation).keys(), ...wanted.keys()])].filter(
    (version) => version !== stable,
  );
  const shrinking = others.filter((version) => target(version) < weightOf(allocation, version));
  const growing = others.filter((version) => target(version) > weightOf(allocation, version));
  let slots = merged(allocation);
  for (const version of [...shrinking, ...growing]) slots = withWeight(slots, stable, version, target(version));
  return slots;
}

function takeLowest(allocation: readonly Slot[], from: string, to: string, amount: number): Slot[] {
  let left = amount;
  return allocation.flatMap((slot) => {
    if (slot.version !== from || left === 0) return [slot];
    const taken = Math.min(left, slot.weight);
    left -= taken;
    return [
      { version: to, weight: taken },
      { version: from, weight: slot.weight - taken },
    ];
  });
}

function reversed(allocation: readonly Slot[]): Slot[] {
  return [...allocation].reverse();
}

/** Drops empty slots and joins equal neighbours. */
function merged(allocation: readonly Slot[]): Slot[] {
  const slots: Slot[] = [];
  for (const slot of allocation) {
    const last = slots.at(-1);
    if (slot.weight === 0) continue;
    if (last?.version === slot.version) slots[slots.length - 1] = { ...last, weight: last.weight + slot.weight };
    else slots.push({ ...slot });
  }
  return slots;
}
