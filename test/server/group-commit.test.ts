import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { GroupCommit } from "../../server/src/ledger/group-commit.ts";
import { TOGETHER_MS } from "../../server/src/rest.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
});

test("after a pause counts wait only for those that come with them, and are written together", async () => {
  const { commit, writes } = committing();
  for (let n = 1; n <= 3; n++) commit.schedule(n);
  expect(writes).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(TOGETHER_MS);
  expect(writes).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(100);
  expect(writes).toHaveLength(1);
  commit.schedule(1);
  await vi.advanceTimersByTimeAsync(TOGETHER_MS);
  expect(writes).toHaveLength(2);
});

test("the rest is never short by a part of a millisecond", async () => {
  const { commit, writes } = committing({ writeMs: 1 });
  commit.schedule(100);
  await vi.advanceTimersByTimeAsync(1);
  vi.spyOn(performance, "now").mockReturnValueOnce(performance.now() + 0.4);
  commit.schedule(1);
  await vi.advanceTimersByTimeAsync(4);
  expect(writes).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(writes).toHaveLength(2);
});

test("counts that a change wrote before say nothing of the disk, and begin no rest", async () => {
  const { commit, writes } = committing({ writeMs: 20, isEmpty: (write) => write === 3 });
  for (let write = 1; write <= 2; write++) {
    commit.schedule(100);
    await vi.advanceTimersByTimeAsync(20);
  }
  commit.schedule(1);
  await vi.advanceTimersByTimeAsync(80);
  expect(writes).toHaveLength(3);
  // Four times 20 ms since the last commit are over.
  commit.schedule(1);
  await vi.advanceTimersByTimeAsync(TOGETHER_MS);
  expect(writes).toHaveLength(4);
  await vi.advanceTimersByTimeAsync(20);
  commit.schedule(1);
  await vi.advanceTimersByTimeAsync(79);
  expect(writes).toHaveLength(4);
  await vi.advanceTimersByTimeAsync(1);
  expect(writes).toHaveLength(5);
});

test("commits rest for 5 ms, and a count that comes late in the rest waits for what is left of it", async () => {
  const { commit, writes } = committing({ writeMs: 1 });
  commit.schedule(100);
  await vi.advanceTimersByTimeAsync(1 + 3);
  commit.schedule(1);
  await vi.advanceTimersByTimeAsync(1);
  commit.schedule(2);
  expect(writes).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(writes).toHaveLength(2);
});

test("a group that is full goes at once, and the timer of its first count writes nothing more", async () => {
  const { commit, writes } = committing();
  commit.schedule(1);
  commit.schedule(100);
  await vi.advanceTimersByTimeAsync(0);
  expect(writes).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(100);
  expect(writes).toHaveLength(1);
});

test("while one group is written the next is not queued behind it, however much is counted", async () => {
  const { commit, writes } = committing();
  commit.schedule(100);
  for (let n = 0; n < 10; n++) commit.schedule(100);
  expect(writes).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(0);
  commit.schedule(100);
  await vi.advanceTimersByTimeAsync(0);
  expect(writes).toHaveLength(2);
});

test("after a disk that took 20 ms twice, counts wait four times as long", async () => {
  const { commit, writes } = committing({ writeMs: 20 });
  for (let write = 0; write < 2; write++) {
    commit.schedule(100);
    await vi.advanceTimersByTimeAsync(20);
  }
  commit.schedule(1);
  await vi.advanceTimersByTimeAsync(79);
  expect(writes).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1);
  expect(writes).toHaveLength(3);
});

test("after a write that was slow alone, counts wait no longer than before it", async () => {
  const { commit, writes } = committing({ writeMs: 20 });
  commit.schedule(100);
  await vi.advanceTimersByTimeAsync(20);
  commit.schedule(1);
  await vi.advanceTimersByTimeAsync(5);
  expect(writes).toHaveLength(2);
});

test("a write that failed is tried again after the longest wait, by itself, and not earlier because more came", async () => {
  const { commit, writes, failures } = committing({ failures: 1 });
  commit.schedule(100);
  await vi.advanceTimersByTimeAsync(0);
  expect(failures).toHaveLength(1);
  commit.schedule(1_000);
  await vi.advanceTimersByTimeAsync(999);
  expect(writes).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(writes).toHaveLength(2);
});

test("closing writes what is left, once", async () => {
  const { commit, writes } = committing();
  commit.schedule(1);
  await commit.close();
  await commit.close();
  commit.schedule(100);
  await vi.advanceTimersByTimeAsync(100);
  expect(writes).toHaveLength(1);
});

function committing({ writeMs = 0, failures: toFail = 0, isEmpty = (_write: number): boolean => false } = {}) {
  const writes: number[] = [];
  const failures: unknown[] = [];
  const commit = new GroupCommit({
    flush: async () => {
      writes.push(performance.now());
      if (isEmpty(writes.length)) return undefined;
      if (writeMs > 0) await new Promise((resolve) => setTimeout(resolve, writeMs));
      if (writes.length <= toFail) throw new Error("disk full");
      return writeMs;
    },
    onFailure: (error) => failures.push(error),
    options: { maxOutcomes: 100 },
  });
  return { commit, writes, failures };
}
