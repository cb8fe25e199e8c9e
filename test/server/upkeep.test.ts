import { expect, test } from "vitest";
import { Upkeep, type UpkeepParts } from "../../server/src/upkeep.ts";
import { EMPTY_WORLD } from "../support/empty-world.ts";

const HEALTHY = { problem: undefined, check: async () => undefined };

test("a duty that fails is told of, and keeps no other from being done", async () => {
  const done: string[] = [];
  const { upkeep, failures, ended } = upkeepOf([
    () => done.push("first"),
    () => Promise.reject(new Error("second")),
    () => done.push("third"),
  ]);
  upkeep.wake();
  await ended();
  expect(done).toEqual(["first", "third"]);
  expect(failures).toEqual(["second"]);
});

test("a second that passes while duties are done begins none anew", async () => {
  let begun = 0;
  const [reached, slow] = [gate(), gate()];
  const { upkeep, ended } = upkeepOf([
    () => {
      begun += 1;
      reached.open();
      return slow.opened;
    },
  ]);
  upkeep.wake();
  await reached.opened;
  upkeep.wake();
  slow.open();
  await ended();
  await upkeep.close();
  expect(begun).toBe(1);
});

test("close waits for the duty under way, and none is begun after it", async () => {
  const done: string[] = [];
  const [reached, slow] = [gate(), gate()];
  const { upkeep } = upkeepOf([
    async () => {
      reached.open();
      await slow.opened;
      done.push("first");
    },
    () => done.push("second"),
  ]);
  upkeep.wake();
  await reached.opened;
  const closing = upkeep.close();
  upkeep.wake();
  expect(done).toEqual([]);
  slow.open();
  await closing;
  expect(done).toEqual(["first"]);
});

test("nothing is done while the disk can't be written, but to look whether it can", async () => {
  const done: string[] = [];
  const looked = gate();
  const broken = upkeepOf([() => done.push("duty")], {
    problem: "it is full",
    check: () => looked.opened.then(() => "it is full"),
  });
  broken.upkeep.wake();
  looked.open();
  await broken.upkeep.close();
  expect(done).toEqual([]);
  const healed = upkeepOf([() => done.push("duty")], { problem: "it was full", check: async () => undefined });
  healed.upkeep.wake();
  await healed.ended();
  expect(done).toEqual(["duty"]);
});

function upkeepOf(duties: readonly (() => unknown)[], health: UpkeepParts["health"] = HEALTHY) {
  const failures: string[] = [];
  const last = gate();
  const upkeep = new Upkeep({
    engine: { world: EMPTY_WORLD, execute: () => Promise.reject(new Error("nothing has expired")) },
    health,
    duties: [...duties, () => last.open()],
    now: Date.now,
    onError: (error) => failures.push((error as Error).message),
  });
  return { upkeep, failures, ended: () => last.opened };
}

/** Something to wait for. */
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}
