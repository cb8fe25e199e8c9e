import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { Passes } from "../../server/src/evaluator/passes.ts";
import { TOGETHER_MS } from "../../server/src/rest.ts";

const REST_MS = 5;
const REST_FACTOR = 4;
const RETRY_MS = 1_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
});

test("after a pause news is judged with what comes with it, each alias once and as of its last arrival", async () => {
  const { passes, judged } = judging();
  passes.markDirty(["a", "b"], 1);
  passes.markDirty(["a"], 2);
  expect(judged).toEqual([]);
  await vi.advanceTimersByTimeAsync(TOGETHER_MS);
  expect(judged).toEqual(["a 2", "b 1"]);
});

test("between two passes lie 5 ms, and news that comes late in them waits for what is left", async () => {
  const { passes, judged } = judging();
  passes.markDirty(["a"], 1);
  await vi.advanceTimersByTimeAsync(TOGETHER_MS + 3);
  passes.markDirty(["a"], 2);
  await vi.advanceTimersByTimeAsync(REST_MS - 3 - 1);
  expect(judged).toEqual(["a 1"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(judged).toEqual(["a 1", "a 2"]);
});

test("a pass that took long is followed by a rest four times as long", async () => {
  const passMs = 10;
  const { passes, judged } = judging({ passMs });
  passes.markDirty(["a"], 1);
  await vi.advanceTimersByTimeAsync(TOGETHER_MS + passMs);
  passes.markDirty(["a"], 2);
  await vi.advanceTimersByTimeAsync(REST_FACTOR * passMs - 1);
  expect(judged).toEqual(["a 1"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(judged).toEqual(["a 1", "a 2"]);
});

test("news that comes in a pass is judged by the next one, and no two run at once", async () => {
  const passMs = 10;
  const { passes, judged, atOnce } = judging({ passMs });
  passes.markDirty(["a"], 1);
  await vi.advanceTimersByTimeAsync(TOGETHER_MS + passMs / 2);
  passes.markDirty(["a"], 2);
  passes.markDirty(["b"], 3);
  await vi.advanceTimersByTimeAsync(passMs / 2 + REST_FACTOR * passMs + 2 * passMs);
  expect(judged).toEqual(["a 1", "a 2", "b 3"]);
  expect(atOnce()).toBe(1);
});

test("an alias that could not be judged is told of, keeps no other from it, and is tried again", async () => {
  const { passes, judged, failures } = judging({ failsOn: (call) => call === 1 });
  passes.markDirty(["a", "b"], 1);
  await vi.advanceTimersByTimeAsync(TOGETHER_MS);
  expect(failures).toEqual(["a"]);
  expect(judged).toEqual(["b 1"]);
  await vi.advanceTimersByTimeAsync(RETRY_MS + TOGETHER_MS);
  expect(judged).toEqual(["b 1", expect.stringMatching(/^a /)]);
});

test("close waits for the pass under way, and nothing is judged after it", async () => {
  const { passes, judged } = judging({ passMs: 10, failsOn: (call) => call === 1 });
  passes.markDirty(["a"], 1);
  await vi.advanceTimersByTimeAsync(TOGETHER_MS);
  passes.markDirty(["b"], 2);
  let isClosed = false;
  const closing = passes.close().then(() => {
    isClosed = true;
  });
  await vi.advanceTimersByTimeAsync(9);
  expect(isClosed).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  await closing;
  passes.markDirty(["c"], 3);
  expect(vi.getTimerCount()).toBe(0);
  expect(judged).toEqual([]);
});

function judging({ passMs = 0, failsOn = (_call: number): boolean => false } = {}) {
  const judged: string[] = [];
  const failures: string[] = [];
  let calls = 0;
  let running = 0;
  let most = 0;
  const passes = new Passes({
    judge: async (alias, arrivedAtMs) => {
      const call = ++calls;
      most = Math.max(most, ++running);
      const fails = failsOn(call);
      if (!fails) judged.push(`${alias} ${arrivedAtMs}`);
      if (passMs > 0) await new Promise((resolve) => setTimeout(resolve, passMs));
      running -= 1;
      if (fails) throw new Error("the disk is full");
    },
    onError: (_error, alias) => failures.push(alias),
    monotonicMs: () => performance.now(),
  });
  return { passes, judged, failures, atOnce: () => most };
}
