/**
 * The contract of counts: what is durable is what they were, however often it was written.
 */
import { newLedger } from "@flagback/core";
import { expect, test } from "vitest";
import { type LedgerWrites, NO_LEDGER_WRITES } from "../../../server/src/store/ledger-writes.ts";
import { ALL, everythingIn, type MakeAdapter, NO_COUNTS } from "./adapter.ts";

const ROLLOUT = { alias: "agent", rolloutNumber: 1 };
const NAME = { ...ROLLOUT, instance: "i1", seq: 4, version: "agent@2" };

const COUNTED: LedgerWrites = {
  ...NO_LEDGER_WRITES,
  instances: [{ instance: "i1", tokenId: "t", through: 4, lostSince: null }],
  assignments: [{ ...NAME, tick: 3, assigned: 5, settled: 2, overdue: { 1800: 1 } }],
  counts: [
    { ...ROLLOUT, isHeld: false, row: { ...NO_COUNTS, arm: "candidate", tick: 3, runtime: "i1", assigned: 5 } },
    { ...ROLLOUT, isHeld: true, row: { ...NO_COUNTS, arm: "stable", tick: 3, runtime: "t", assigned: 1 } },
  ],
  ledgers: [{ ...ROLLOUT, ledger: newLedger([], 0.01, 2) }],
  totals: [{ ...ROLLOUT, version: "agent@2", totals: { assigned: 5, settled: 2, missing: 0, failures: 1 } }],
  tick: 3,
};

export function countsContract(make: MakeAdapter): void {
  test("counts are there after a restart as they were written last, also where they were written twice", async () => {
    const adapter = await make();
    const store = adapter.open();
    expect(await store.writeLedger(COUNTED)).toBeGreaterThanOrEqual(0);
    await store.writeLedger(COUNTED);
    store.close();
    expect(await everythingIn(adapter)).toMatchObject(loadedOf(COUNTED));
    const more: LedgerWrites = {
      ...COUNTED,
      instances: [{ instance: "i1", tokenId: "t", through: 5, lostSince: 4 }],
      assignments: [{ ...NAME, tick: 3, assigned: 5, settled: 4, overdue: {} }],
      tick: 4,
    };
    const again = adapter.open();
    await again.writeLedger(more);
    again.close();
    expect(await everythingIn(adapter)).toMatchObject(loadedOf(more));
  });

  test("what is settled, frozen or released leaves nothing open", async () => {
    const adapter = await make();
    const store = adapter.open();
    await store.writeLedger(COUNTED);
    await store.writeLedger({
      ...NO_LEDGER_WRITES,
      closedAssignments: [NAME],
      closedHeldTicks: [{ ...ROLLOUT, tick: 3 }],
      frozen: [{ ...ROLLOUT, tick: 3, candidate: { ...NO_COUNTS, assigned: 5 }, stable: NO_COUNTS }],
      tick: 64,
    });
    store.close();
    expect(await everythingIn(adapter)).toMatchObject({
      assignments: [],
      counts: [],
      totals: COUNTED.totals,
      tick: 64,
    });
  });

  test("a start is given the last runs that were counted, oldest first, and at least as many as it asked for", async () => {
    const adapter = await make();
    const store = adapter.open();
    const runs = (...runIds: string[]) => ({ ...ROLLOUT, version: "agent@2", runIds });
    await store.writeLedger({ ...NO_LEDGER_WRITES, runs: [runs("r1", "r2"), runs("r3")] });
    await store.writeLedger({ ...NO_LEDGER_WRITES, runs: [runs("r4", "r5")] });
    store.close();
    const again = adapter.open();
    const last = (limit: number) => again.load({ history: 0, runs: limit }).runs.flatMap(({ runIds }) => runIds);
    expect(last(3)).toEqual(["r3", "r4", "r5"]);
    expect(last(2)).toEqual(["r4", "r5"]);
    expect(last(ALL)).toEqual(["r1", "r2", "r3", "r4", "r5"]);
    again.close();
  });

  test("frozen ticks are read page by page, those of the rollout alone and in their order", async () => {
    const store = (await make()).open();
    const frozen = (rolloutNumber: number, tick: number) => ({
      ...ROLLOUT,
      rolloutNumber,
      tick,
      candidate: { ...NO_COUNTS, assigned: tick },
      stable: NO_COUNTS,
    });
    const { rolloutNumber } = ROLLOUT;
    const ticks = [9, 2, 5, 0, 7].map((tick) => frozen(rolloutNumber, tick));
    await store.writeLedger({ ...NO_LEDGER_WRITES, frozen: [...ticks, frozen(rolloutNumber + 1, 3)], tick: 10 });
    const page = async (of: Parameters<typeof store.frozenTicks>[1]) =>
      (await store.frozenTicks(ROLLOUT, of)).map(({ tick, candidate }) => [tick, candidate.assigned]);

    expect(await page({ limit: 2 })).toEqual([
      [0, 0],
      [2, 2],
    ]);
    expect(await page({ after: 2, limit: 2 })).toEqual([
      [5, 5],
      [7, 7],
    ]);
    expect(await page({ after: 2, through: 5, limit: 2 })).toEqual([[5, 5]]);
    expect(await page({ after: 9, limit: 2 })).toEqual([]);
    store.close();
  });

  test("frozen sums of the last day stay, and older ones go as new ones come", async () => {
    const store = (await make()).open();
    const frozen = (tick: number) => ({ ...ROLLOUT, tick, candidate: NO_COUNTS, stable: NO_COUNTS });
    for (let tick = 1; tick <= 10; tick++) {
      await store.writeLedger({ ...NO_LEDGER_WRITES, frozen: [frozen(tick)], tick });
    }
    // A day and five seconds after the first of them.
    for (let tick = 86_406; tick <= 86_410; tick++) {
      await store.writeLedger({ ...NO_LEDGER_WRITES, frozen: [frozen(tick)], tick });
    }
    const kept = await store.frozenTicks(ROLLOUT, { limit: ALL });
    expect(kept.map(({ tick }) => tick)).toEqual([10, 86_406, 86_407, 86_408, 86_409, 86_410]);
    store.close();
  });
}

/** What a start is given of such counts; a ledger without its open ticks. */
function loadedOf({ instances, assignments, counts, ledgers, totals, tick }: LedgerWrites) {
  return { instances, assignments, ledgers, totals, tick, counts: expect.arrayContaining([...counts]) };
}
