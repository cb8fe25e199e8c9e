/**
 * When what is past its term goes: by the terms that are given, in small steps, with pauses, and by a clock that does not jump.
 */
import { startServer } from "flagback";
import { expect, test } from "vitest";
import { nextRows, parseKeep, Retention } from "../../../server/src/store/retention.ts";
import type { Prunable, PruneStep } from "../../../server/src/store/store.ts";
import { SILENT, testFolder } from "../../support/server.ts";
import { quiet } from "./quiet.ts";

const DAY_MS = 86_400_000;

test("a clock that jumps ahead by years makes nothing old while the server runs", async () => {
  let wallMs = Date.parse("2026-01-01T00:00:00Z");
  let monotonicMs = 0;
  const steps: PruneStep[] = [];
  const retention = new Retention({
    ...quiet,
    prune: async (step) => {
      steps.push(step);
      return 0;
    },
    now: () => wallMs,
    monotonicMs: () => monotonicMs,
  });
  wallMs += 3_000 * DAY_MS;
  monotonicMs += 3_600_000;
  await retention.run();
  for (const step of steps) {
    if ("before" in step) expect(Date.parse(step.before)).toBeLessThan(Date.parse("2026-01-01T01:01:01Z"));
  }
  expect(steps).toHaveLength(5);
});

test("each step drops few rows, and others get their turn between two of them", async () => {
  const left: Partial<Record<Prunable, number>> = { audit: 1_000 };
  const order: string[] = [];
  const retention = new Retention({
    ...quiet,
    prune: async ({ what, rows }) => {
      const dropped = Math.min(rows, left[what] ?? 0);
      left[what] = (left[what] ?? 0) - dropped;
      if (dropped > 0) order.push("step");
      return dropped;
    },
  });
  const running = retention.run();
  const change = setInterval(() => order.push("change"), 1);
  await running;
  clearInterval(change);
  const between = order.join(" ").split("step").slice(1, -1);
  expect(between.length).toBeGreaterThanOrEqual(4);
  for (const turn of between) expect(turn).toContain("change");
});

test("a run that is closed ends after its step, and a second run joins the first", async () => {
  let steps = 0;
  const retention = new Retention({
    ...quiet,
    prune: async ({ rows }) => {
      steps += 1;
      if (steps === 3) void retention.close();
      return rows;
    },
  });
  expect(retention.run()).toBe(retention.run());
  await retention.run();
  expect(steps).toBe(3);
});

test.each([
  ["audit", "such as 90d"],
  ["decisions=3d", "what is kept is one of audit, incidents"],
  ["audit=forever", "such as 90d"],
  ["audit=1h", "at least a day"],
  ["audit=90d=3", "what is kept is one of"],
  ["rollouts=90d", "a number of rollouts"],
  ["rollouts=1", "at least 2"],
  ["__proto__=1d", "what is kept is one of"],
])("a term that is none is refused at the start, before anything is dropped: %s", async (keep, problem) => {
  const dataDir = await testFolder();
  await expect(startServer({ dataDir, port: 0, log: SILENT, keep: ["feedback=2d", keep] })).rejects.toMatchObject({
    code: "usage",
    message: expect.stringContaining(problem),
  });
});

test("terms that are given replace the defaults, and the others stay", () => {
  const terms = parseKeep(["audit=7d", "rollouts=3"]);
  // docs/operations.md: incidents 400 days, alerts 30, feedback 90.
  expect(terms).toEqual({
    audit: 7 * DAY_MS,
    incidents: 400 * DAY_MS,
    alerts: 30 * DAY_MS,
    feedback: 90 * DAY_MS,
    rollouts: 3,
  });
});

test.each([
  [64, 1, 64],
  [64, 3, 64],
  [64, 9, 32],
  [3, 9, 1],
  [1, 900, 1],
  [8, 3, 8],
  [8, 1, 16],
  [40, 0, 64],
])("after a step of %i rows that took %i ms come steps of %i", (rows, tookMs, next) => {
  expect(nextRows(rows, tookMs)).toBe(next);
});

test("after a slow step the next one is half as large, and the wait between them is four times as long as it took", async () => {
  const steps: number[] = [];
  const pauses: number[] = [];
  let nowMs = 0;
  let left = 100;
  const retention = new Retention({
    ...quiet,
    monotonicMs: () => nowMs,
    pause: async (ms) => pauses.push(ms),
    prune: async ({ what, rows }) => {
      if (what !== "audit") return 0;
      steps.push(rows);
      // Only the first is slow.
      nowMs += steps.length === 1 ? 100 : 1;
      const went = Math.min(left, rows);
      left -= went;
      return went;
    },
  });
  await retention.run();
  expect(left).toBe(0);
  expect(steps).toEqual([64, 32, 64]);
  // Incidents before it have none, and what comes after it neither.
  expect(pauses).toEqual([0, 400, 20, 0, 0, 0, 0]);
});
