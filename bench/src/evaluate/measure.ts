/**
 * What a call costs, in CPU time of this process, and how often its floor fits into it. Each round asks everybody for some
 * milliseconds, in an order of its own, and a ratio is taken within its round: what else the machine does meets all alike.
 */
import { setImmediate } from "node:timers/promises";
import { type Rng, xoshiro128 } from "../rng.ts";
import { type Estimate, medianOf } from "../statistics.ts";
import type { Contestant } from "./contestant.ts";

export interface Effort {
  readonly rounds: number;
}

export interface Measurement {
  readonly name: string;
  readonly through: Contestant["through"];
  /** Median of rounds. */
  readonly cpuNs: number;
  readonly callsPerCpuSecond: number;
  /** Median of the rounds' ratios to the floor. */
  readonly ratio: Estimate;
}

/**
 * CPU time of one contestant in one round: short, so that those of a round meet the same machine. Garbage collections are
 * rarer and so fall out of the medians, for all alike.
 */
const BATCH_MS = 2;
/** Before each batch, its share of calls that are not counted: they bring the code back that others have displaced. */
const WARM_UP_SHARE = 1 / 8;
/** CPU time of a contestant before the first round, for the compiler. */
const COMPILE_MS = 100;
/** A split by hash of 1 024 keys is within six standard errors of its share. */
const SHARE_TOLERANCE = 0.1;
const ORDER_SEED = 20_250_101;

/**
 * Measures contestants against the first of them, which is the floor.
 * @throws Error where one does not answer what it should: a fast wrong answer is no result
 */
export async function compare(contestants: readonly Contestant[], { rounds }: Effort): Promise<readonly Measurement[]> {
  const entries: { readonly contestant: Contestant; readonly calls: number; readonly costsNs: number[] }[] = [];
  for (const contestant of contestants) {
    entries.push({ contestant, calls: await callsOf(contestant), costsNs: [] });
  }
  const random = xoshiro128(ORDER_SEED);
  for (let round = 0; round < rounds; round++) {
    for (const { contestant, calls, costsNs } of shuffled(entries, random)) {
      costsNs.push((await cpuNsOf(contestant, calls)) / calls);
    }
  }
  const floorNs = entries[0]?.costsNs ?? [];
  return entries.map(({ contestant: { name, through }, costsNs }) => {
    const cpuNs = medianOf(Float64Array.from(costsNs)).value;
    return { name, through, cpuNs, callsPerCpuSecond: 1e9 / cpuNs, ratio: medianRatio(costsNs, floorNs) };
  });
}

/** Median of the ratios of what was measured in the same round. */
function medianRatio(costs: readonly number[], floors: readonly number[]): Estimate {
  return medianOf(Float64Array.from(costs, (cost, round) => cost / (floors[round] ?? Number.NaN)));
}

/** CPU nanoseconds of some work, garbage collection by other threads included. */
export async function cpuNs(work: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) * 1_000;
}

/** How many calls fill a batch, found while the compiler sees enough of them. */
async function callsOf(contestant: Contestant): Promise<number> {
  let calls = 64;
  let costNs = 0;
  for (let spentNs = 0; spentNs < COMPILE_MS * 1e6; spentNs += costNs) {
    costNs = await cpuNsOf(contestant, calls);
    if (costNs < BATCH_MS * 1e6) calls *= 2;
  }
  return calls;
}

async function cpuNsOf({ name, expectedShare, run }: Contestant, calls: number): Promise<number> {
  // The stream and its leases get their turn between two batches.
  await setImmediate();
  await run(Math.ceil(calls * WARM_UP_SHARE));
  let counted = 0;
  const costNs = await cpuNs(async () => {
    counted = await run(calls);
  });
  const tolerance = expectedShare === 1 ? 0 : SHARE_TOLERANCE;
  if (Math.abs(counted / calls - expectedShare) > tolerance) {
    throw new Error(`${name} gave ${counted} of ${calls} callers what ${expectedShare * calls} should get`);
  }
  return costNs;
}

function shuffled<T>(items: readonly T[], random: Rng): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
