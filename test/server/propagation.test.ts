import { expect, test } from "vitest";
import type { PropagationRow } from "../../server/src/store/store.ts";
import { PropagationTracker } from "../../server/src/stream/propagation.ts";

const RUNTIMES = Array.from({ length: 1_000 }, (_, i) => `runtime-${i}`);

test("an acknowledgement counts for every revision that waits for the runtime, once each", () => {
  const tracker = new PropagationTracker(() => 0);
  tracker.committed(1, ["a", "b"]);
  tracker.committed(2, ["a", "b"]);

  tracker.applied("a", "sdk", 2);
  tracker.applied("a", "sdk", 2);

  expect(tracker.find(1)).toMatchObject({ runtimes: 2, acknowledged: 1 });
  expect(tracker.find(2)).toMatchObject({ runtimes: 2, acknowledged: 1 });
});

test("status texts that could not be written are written with the next, and what was written is not written again", async () => {
  const tracker = new PropagationTracker(() => 0);
  const writes: PropagationRow[][] = [];
  const write = async (rows: readonly PropagationRow[]) => void writes.push([...rows]);
  tracker.committed(1, ["a"]);
  tracker.applied("a", "sdk", 1);
  const full = tracker.writeChanged(() => Promise.reject(new Error("the disk is full")));
  tracker.committed(2, ["a"]);
  await expect(full).rejects.toThrow("full");
  await tracker.writeChanged(write);
  await tracker.writeChanged(write);
  expect(writes.map((rows) => rows.map(({ revision }) => revision).sort())).toEqual([[1, 2]]);
  expect(writes[0]?.find(({ revision }) => revision === 1)?.switchStatus).toContain("1");
});

test("a runtime whose lease lapsed and that came back has applied after all", () => {
  const tracker = new PropagationTracker(() => 0);
  tracker.committed(1, ["a"]);

  tracker.lapsed("a");
  expect(tracker.find(1)).toMatchObject({ acknowledged: 0, lapsed: 1 });
  tracker.applied("a", "sdk", 1);

  expect(tracker.find(1)).toMatchObject({ acknowledged: 1, lapsed: 0 });
});

test("a large fleet's acknowledgements are forgotten, oldest revision first, before they are a hundred thousand", () => {
  const tracker = new PropagationTracker(() => 0);
  for (let revision = 1; revision <= 120; revision++) {
    tracker.committed(revision, RUNTIMES);
    for (const runtime of RUNTIMES) tracker.applied(runtime, "sdk", revision);
  }

  const kept = Array.from({ length: 120 }, (_, i) => i + 1).filter((revision) => tracker.find(revision) !== undefined);

  // 100 revisions of 1 000 runtimes fit, and the newest is always there.
  expect(kept).toEqual(Array.from({ length: kept.length }, (_, i) => 120 - kept.length + 1 + i));
  expect(kept.length).toBeGreaterThanOrEqual(100);
  expect(kept.length).toBeLessThanOrEqual(101);
});

test("whoever waits for a revision is called once when it has settled, not after having gone, and at once where it had", () => {
  const tracker = new PropagationTracker(() => 0);
  const called: string[] = [];
  tracker.committed(1, ["a"]);
  tracker.whenSettled(1, () => called.push("waited"));
  const forget = tracker.whenSettled(1, () => called.push("gone"));
  forget();
  expect(called).toEqual([]);

  tracker.applied("a", "sdk", 1);
  tracker.applied("a", "sdk", 1);
  expect(called).toEqual(["waited"]);
  tracker.whenSettled(1, () => called.push("late"));
  expect(called).toEqual(["waited", "late"]);
});

test("whoever waits for a revision that is forgotten is let go", () => {
  const tracker = new PropagationTracker(() => 0);
  tracker.committed(1, ["gone"]);
  let isLetGo = false;
  tracker.whenSettled(1, () => {
    isLetGo = true;
  });

  for (let revision = 2; revision <= 300; revision++) tracker.committed(revision, ["gone"]);

  expect(isLetGo).toBe(true);
  expect(tracker.find(1)).toBeUndefined();
});
