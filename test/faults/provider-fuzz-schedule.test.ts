/** The fuzz's schedule is a pure function of its seed, and leaves nothing out. */
import { expect, test } from "vitest";
import { scheduleOf } from "./provider-fuzz/schedule.ts";

test("the same seed plans the same run, another seed another", () => {
  expect(scheduleOf(7, 20, 4)).toEqual(scheduleOf(7, 20, 4));
  expect(scheduleOf(8, 20, 4)).not.toEqual(scheduleOf(7, 20, 4));
});

test("rounds fill the time that was asked for, with actions in order and within their round", () => {
  const rounds = scheduleOf(1, 20, 4);
  expect(rounds.reduce((sum, { forMs }) => sum + forMs, 0)).toBeCloseTo(20_000, 6);
  for (const { forMs, actions } of rounds) {
    expect(actions.map(({ atMs }) => atMs)).toEqual(actions.map(({ atMs }) => atMs).toSorted((a, b) => a - b));
    for (const { atMs } of actions) expect(atMs >= 0 && atMs < forMs).toBe(true);
  }
});

test("twenty seconds hold every kind of fault", () => {
  const kinds = new Set(scheduleOf(1, 20, 4).flatMap(({ actions }) => actions.map(({ fault }) => fault.kind)));
  expect([...kinds].sort()).toEqual([
    "blockedStream",
    "brokenBytes",
    "change",
    "cut",
    "cutAfter",
    "delay",
    "droppedFrame",
    "failover",
    "impostor",
    "inventedFrame",
    "mutatedFrame",
    "newerFrame",
    "overtakenFrame",
    "partition",
    "refusal",
    "repeatedFrame",
    "replayedAnswer",
    "replayedFrame",
    "restart",
    "restartedRuntime",
  ]);
});
