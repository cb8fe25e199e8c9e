/** What a benchmark takes for a pause of the machine, and which outcomes it leaves out for that. */
import { expect, test } from "vitest";
import { sharedNowMs } from "../../bench/src/load/clock.ts";
import { wasKeptWaiting, watchPauses } from "../../bench/src/load/pause-watch.ts";

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

test("what was on its way at any moment of a pause was kept waiting, and nothing else", () => {
  const pauses = [{ fromMs: 100, toMs: 140 }];
  const kept = (sentMs: number, arrivedMs: number) => wasKeptWaiting(pauses, sentMs, arrivedMs);
  expect([kept(90, 101), kept(110, 120), kept(139, 150), kept(50, 200)]).toEqual([true, true, true, true]);
  expect([kept(80, 100), kept(140, 150), kept(10, 20)]).toEqual([false, false, false]);
  expect(wasKeptWaiting([], 0, 1_000)).toBe(false);
});

/** Timers fire in the order in which they are due, so the watch's next one has fired, too. */
function nextTimer(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 2));
}
