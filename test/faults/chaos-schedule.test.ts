/**
 * What a chaos run plans: the same for the same seed, and everything that can be broken.
 */
import { expect, test } from "vitest";
import { FAILPOINTS } from "../../server/src/store/failpoints.ts";
import { scheduleOf } from "./chaos/schedule.ts";

const RUNTIMES = 200;

test("a seed plans the same faults and the same deaths again, and another one others", () => {
  expect(scheduleOf(7, 60, RUNTIMES)).toEqual(scheduleOf(7, 60, RUNTIMES));
  expect(scheduleOf(7, 60, RUNTIMES)).not.toEqual(scheduleOf(8, 60, RUNTIMES));
});

test("in two minutes a server is meant to die at every failpoint, and every kind of fault comes", () => {
  const rounds = scheduleOf(1, 120, RUNTIMES);
  const points = rounds.flatMap(({ lives }) => lives.flatMap((life) => (life.kind === "diesAt" ? [life.point] : [])));
  expect(new Set(points)).toEqual(new Set(FAILPOINTS));
  const kinds = new Set(rounds.flatMap(({ actions }) => actions.map(({ fault }) => fault.kind)));
  // By hand, from the list in docs/testing.md.
  expect([...kinds].toSorted()).toEqual([
    "cut",
    "cutAfter",
    "delay",
    "diskErrors",
    "diskFull",
    "duplicatedBatch",
    "kill",
    "partition",
    "refusedAlert",
    "reorderedBatch",
    "restartedRuntime",
    "runtimeClockJump",
    "serverClockJump",
    "slowReaders",
    "stall",
  ]);
});

test("actions come in the order of time, within their round, and to runtimes that are there", () => {
  for (const { forMs, actions } of scheduleOf(3, 40, 20)) {
    const times = actions.map(({ atMs }) => atMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(Math.min(...times)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...times)).toBeLessThan(forMs);
    for (const action of actions) if (action.target === "runtime") expect(action.runtime).toBeLessThan(20);
  }
});
