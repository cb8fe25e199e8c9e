/** What a benchmark takes for a pause of the machine, and how much of a wait it takes for one. */
import { expect, test } from "vitest";
import { sharedNowMs } from "../../bench/src/load/clock.ts";
import { commonPauses, LEAST_PAUSE_MS, pausedMs, totalMs, watchPauses } from "../../bench/src/load/pause-watch.ts";

test("a process that can't wake up for 30 ms has seen a pause, from when to when", async () => {
  const stop = watchPauses();
  // The first wake-up, so that the pause begins between two.
  await nextTimer();
  const fromMs = sharedNowMs();
  while (sharedNowMs() - fromMs < 30);
  const toMs = sharedNowMs();
  await nextTimer();
  const seen = stop().find((pause) => pause.fromMs <= fromMs && pause.toMs >= toMs);
  expect(seen).toBeDefined();
});

test("the machine stood still where two processes did not run, for longer than a process waits for its turn", () => {
  const one = [
    { fromMs: 100, toMs: 140 },
    { fromMs: 200, toMs: 260 },
  ];
  const other = [
    { fromMs: 90, toMs: 130 },
    { fromMs: 190, toMs: 200 + LEAST_PAUSE_MS },
    { fromMs: 230, toMs: 250 },
    { fromMs: 300, toMs: 400 },
  ];
  expect(commonPauses(one, other)).toEqual([
    { fromMs: 100, toMs: 130 },
    { fromMs: 230, toMs: 250 },
  ]);
  expect(commonPauses(one, [])).toEqual([]);
});

test("of what was on its way only the part counts for which the machine stood still", () => {
  const pauses = [
    { fromMs: 100, toMs: 140 },
    { fromMs: 200, toMs: 230 },
  ];
  expect(pausedMs(pauses, 90, 101)).toBe(1);
  expect(pausedMs(pauses, 110, 120)).toBe(10);
  expect(pausedMs(pauses, 130, 300)).toBe(40);
  expect(pausedMs(pauses, 140, 200)).toBe(0);
  expect(pausedMs([], 0, 1_000)).toBe(0);
  expect(totalMs(pauses)).toBe(70);
});

/** Timers fire in the order in which they are due, so the watch's next one has fired, too. */
function nextTimer(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 2));
}
