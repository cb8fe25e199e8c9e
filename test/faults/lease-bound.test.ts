/**
 * The lease bound under partitions: a real server, real providers, and a network that drops packets at random moments.
 */
import { expect, test } from "vitest";
import { CANDIDATE, STABLE } from "../support/rollout.ts";
import { SeededRandom, seedOf } from "../support/seeded-random.ts";
import { type LateRead, lateReads } from "./lease-bound/bound.ts";
import { LEASE_MS, type Partition, PartitionLab, planPartition } from "./lease-bound/partitions.ts";

const RUNTIMES = 40;
const ROUNDS = 5;

const lateIn = ({ afterMs, reads, ...withdrawal }: Partition): LateRead[] =>
  lateReads(withdrawal, { write: LEASE_MS + afterMs, candidate: LEASE_MS }, reads);

test("in 200 random partitions no read that starts after the bound may write or gets the withdrawn version", async () => {
  const seed = seedOf(process.env);
  console.log(`lease bound: seed ${seed} (FLAGBACK_SEED repeats the plan; not the scheduling of the machine)`);
  const random = new SeededRandom(seed);
  const lab = await PartitionLab.open(RUNTIMES, random);
  const partitions: Partition[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    partitions.push(...(await lab.round(Array.from({ length: RUNTIMES }, () => planPartition(random)))));
  }

  expect(partitions.flatMap(lateIn)).toEqual([]);

  // It was no empty exercise. Most partitions kept the rollback from its runtime past every bound,
  const cutOff = partitions.filter((partition) => partition.wasBehind);
  console.log(`lease bound: ${partitions.length} partitions, ${cutOff.length} still cut off at the bound`);
  expect(partitions).toHaveLength(RUNTIMES * ROUNDS);
  expect(cutOff.length).toBeGreaterThan(partitions.length / 5);
  // which went on with both permissions after the commit, as long as its lease let it,
  const wroteAfterCommit = cutOff.filter((partition) => permittedAfterCommit(partition, "write"));
  const servedAfterCommit = cutOff.filter((partition) => permittedAfterCommit(partition, "candidate"));
  expect(wroteAfterCommit.length).toBeGreaterThan(cutOff.length / 10);
  expect(servedAfterCommit.length).toBeGreaterThan(cutOff.length / 10);
  // and then stopped by itself, knowing nothing of the rollback.
  for (const { answered } of cutOff) expect(answered).toEqual({ write: false, version: STABLE, pinned: STABLE });
}, 120_000);

const CUT_OFF = { directions: "both", kind: "hold", healAfterMs: null, wallJumpMs: 0 } as const;
const BOTH = new Set(["write", "candidate"]);
const brokenBy = (partition: Partition) => new Set(lateIn(partition).map(({ permission }) => permission));

test("a wall clock that is set back in the partition does not lengthen the lease", async () => {
  const lab = await PartitionLab.open(4, new SeededRandom(1));
  const plan = { ...CUT_OFF, dropAfterMs: LEASE_MS - 20, wallJumpMs: -3_600_000 };
  for (const partition of await lab.round([plan, plan, plan, plan])) {
    expect(partition.wasBehind).toBe(true);
    expect(lateIn(partition)).toEqual([]);
  }
});

test("a wall clock that jumps forward, as after a sleep, ends the lease at the next read", async () => {
  const lab = await PartitionLab.open(4, new SeededRandom(2));
  const plan = { ...CUT_OFF, dropAfterMs: LEASE_MS - 20, wallJumpMs: 3_600_000 };
  for (const partition of await lab.round([plan, plan, plan, plan])) {
    expect(partition.wasBehind).toBe(true);
    // It was permitted until the jump, and never after it, though more than half of its lease was left.
    expect(partition.reads.length).toBeGreaterThan(0);
    expect(partition.reads.filter(({ startedMs }) => startedMs > partition.droppedMs)).toEqual([]);
  }
});

test("a runtime for which no time passes breaks the bound, and the check says so", async () => {
  const lab = await PartitionLab.open(4, new SeededRandom(3));
  const plan = { ...CUT_OFF, dropAfterMs: 0 };
  for (const partition of await lab.round([plan, plan, plan, plan], (clock) => clock.stop())) {
    expect(brokenBy(partition)).toEqual(BOTH);
    expect(partition.answered).toEqual({ write: true, version: CANDIDATE, pinned: CANDIDATE });
  }
});

test("a switch and an alias that keep what they last knew give up the bound, and the check says so", async () => {
  const lab = await PartitionLab.open(4, new SeededRandom(4), { engage: false, onLeaseLapse: "last" });
  const plan = { ...CUT_OFF, dropAfterMs: 0 };
  for (const partition of await lab.round([plan, plan, plan, plan])) expect(brokenBy(partition)).toEqual(BOTH);
});

test("the check blames reads that start after the bound and before the permission is given back, and no others", () => {
  const reads = [99, 100, 400, 401, 999, 1_000].map((startedMs) => {
    return { runtime: "a", permission: "write", startedMs } as const;
  });
  const late = lateReads({ committedMs: 100, restoredMs: 1_000 }, { write: 300, candidate: 0 }, reads);
  expect(late.map(({ startedMs, lateMs }) => [startedMs, lateMs])).toEqual([
    [401, 1],
    [999, 599],
  ]);
});

function permittedAfterCommit({ committedMs, reads }: Partition, permission: "write" | "candidate"): boolean {
  return reads.some((read) => read.permission === permission && read.startedMs > committedMs);
}
