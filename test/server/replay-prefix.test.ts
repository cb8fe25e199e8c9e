import { freezeThrough, type Ledger, newLedger, recordAssigned, recordOutcome, rowsOf } from "@flagback/core";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { type ReadTicks, replayPrefix } from "../../server/src/evaluator/replay-prefix.ts";
import type { FrozenTick } from "../../server/src/store/store.ts";
import { errorRate, outcome } from "../core/support-brain.ts";

/** Failures of each arm in a tick of ten runs. */
interface Failures {
  readonly candidate: number;
  readonly stable: number;
}

const RUNS = 10;
const quiet = (ticks: number): Failures[] =>
  Array.from({ length: ticks }, (_, tick) => ({ candidate: Number(tick % 40 === 0), stable: Number(tick % 50 === 0) }));

test("a replay of many ticks reads them page by page and lets others have their turn between the pages", async () => {
  const { ledger, kept } = frozenLedger(quiet(1_000));
  const turns = countedTurns();
  const pages: { readonly turn: number; readonly ticks: number }[] = [];
  const read: ReadTicks = async (page) => {
    const ticks = await reading(kept)(page);
    pages.push({ turn: turns(), ticks: ticks.length });
    return ticks;
  };

  const replayed = await replayPrefix(ledger, read);

  expect(replayed).toEqual({ prefix: "identical", prefixTicks: 1_000 });
  // The last one asks whether the oldest tick is still there.
  const filled = pages.slice(0, -1).filter(({ ticks }) => ticks > 0);
  expect(filled.map(({ ticks }) => ticks)).toEqual(Array(10).fill(100));
  expect(new Set(filled.map(({ turn }) => turn)).size).toBe(10);
});

const someTicks = fc.array(
  fc.record({ candidate: fc.integer({ min: 0, max: 2 }), stable: fc.integer({ min: 0, max: 2 }) }),
  { minLength: 1, maxLength: 450 },
);

test("the frozen part follows from its own ticks alone, whatever froze since", async () => {
  await fc.assert(
    fc.asyncProperty(someTicks, fc.nat(), async (ticks, at) => {
      const through = at % ticks.length;
      const { ledger } = frozenLedger(ticks.slice(0, through + 1));
      const { kept } = frozenLedger(ticks);

      expect(await replayPrefix(ledger, reading(kept))).toEqual({ prefix: "identical", prefixTicks: through + 1 });
    }),
    { numRuns: 30 },
  );
});

test("a tick that says something else than was frozen is found", async () => {
  const ticks = quiet(450);
  const { ledger } = frozenLedger(ticks);
  const changed = ticks.map((failures, tick) => (tick === 321 ? { ...failures, candidate: 1 } : failures));
  const { kept } = frozenLedger(changed);

  expect(await replayPrefix(ledger, reading(kept))).toEqual({ prefix: "different", prefixTicks: 450 });
});

test.each([
  ["behind what was read", 3],
  ["ahead of what was read", 300],
])("ticks that are dropped meanwhile %s are not kept", async (_where, dropped) => {
  const { ledger, kept } = frozenLedger(quiet(450));
  let left = kept;
  const read: ReadTicks = async (page) => {
    const ticks = await reading(left)(page);
    // The first page has been read when retention comes by.
    left = kept.slice(dropped);
    return ticks;
  };

  expect(await replayPrefix(ledger, read)).toMatchObject({ prefix: "not_kept" });
});

test("a ledger of which nothing is frozen has nothing to replay", async () => {
  const ledger = newLedger([errorRate], 0.01, 1);

  expect(await replayPrefix(ledger, reading([]))).toEqual({ prefix: "empty", prefixTicks: 0 });
});

/** A ledger that froze these ticks one by one, and what is kept of them. */
function frozenLedger(ticks: readonly Failures[]): { readonly ledger: Ledger; readonly kept: readonly FrozenTick[] } {
  const ledger = newLedger([errorRate], 0.01, 1);
  const kept = ticks.map((failures, tick): FrozenTick => {
    for (const arm of ["candidate", "stable"] as const) {
      recordAssigned(ledger, arm, "r1", tick, RUNS);
      for (let run = 0; run < RUNS; run++) {
        recordOutcome(ledger, arm, "r1", tick, outcome(run < failures[arm] ? { status: "failure" } : {}));
      }
    }
    // Of one runtime, so its row of each arm is the arm's sum.
    const [candidate, stable] = rowsOf(ledger, tick);
    freezeThrough(ledger, tick);
    return { tick, candidate: candidate!, stable: stable! };
  });
  return { ledger, kept };
}

function reading(kept: readonly FrozenTick[]): ReadTicks {
  return async ({ after = -1, through = Number.POSITIVE_INFINITY, limit }) =>
    kept.filter(({ tick }) => tick > after && tick <= through).slice(0, limit);
}

/** How often everybody else had their turn by now. */
function countedTurns(): () => number {
  let turns = 0;
  let next = setImmediate(function again() {
    turns += 1;
    next = setImmediate(again);
  });
  onTestFinished(() => clearImmediate(next));
  return () => turns;
}
