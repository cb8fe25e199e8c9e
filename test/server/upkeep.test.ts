import { setImmediate as nextTurn } from "node:timers/promises";
import type { Command, World } from "@flagback/core";
import type { Actor, AuditEvent } from "@flagback/schemas";
import { expect, test } from "vitest";
import { Upkeep, type UpkeepParts } from "../../server/src/upkeep.ts";
import { EMPTY_WORLD } from "../support/empty-world.ts";
import { MovedClock } from "../support/moved-clock.ts";
import { eventually, testServer } from "../support/server.ts";

interface Expiring {
  readonly world: World;
  readonly execute: (command: Command, actor: Actor) => Promise<unknown>;
  readonly nowMs: number;
}

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
  await nextTurn();
  expect(done).toEqual([]);
  const healed = upkeepOf([() => done.push("duty")], { problem: "it was full", check: async () => undefined });
  healed.upkeep.wake();
  await healed.ended();
  expect(done).toEqual(["duty"]);
});

test("a kill switch's entry is released, and a conversation's version withdrawn, when their time is over and not before", async () => {
  const untilMs = Date.parse("2026-01-02T04:00:00.000Z");
  const until = new Date(untilMs).toISOString();
  const world = {
    ...EMPTY_WORLD,
    killSwitches: new Map([["k", { engaged: [{ scope: "*" }, { scope: "tenant=a", until }] }]]),
    aliases: new Map([["a", { finishing: [{ version: "a@1", until }] }]]),
  } as never as World;
  const commandsAt = async (nowMs: number) => {
    const commands: string[] = [];
    const upkeep = upkeepOf([], HEALTHY, {
      world,
      execute: async ({ kind }, actor) => void commands.push(`${actor.kind} ${kind}`),
      nowMs,
    });
    upkeep.upkeep.wake();
    await upkeep.ended();
    return commands;
  };
  expect(await commandsAt(untilMs - 1)).toEqual([]);
  expect(await commandsAt(untilMs)).toEqual(["system expireEntries", "system expireFinishing"]);
});

test("a server releases an entry at its end by itself, and says in the audit that it did", async () => {
  const clock = new MovedClock();
  const server = await testServer({ clock });
  const until = new Date(clock.nowMs() + 3_600_000).toISOString();
  const engage = { scope: "tenant=a", reason: "a migration", until };
  expect((await server.call("POST", "/v1/kill-switches/writes_disabled/engage", engage)).status).toBe(200);
  clock.passSeconds(3_600);
  const released = await eventually("it is released", async () => {
    const { body } = await server.call<{ events: AuditEvent[] }>("GET", "/v1/audit");
    return body.events.find(({ action }) => action === "kill_switch.expire");
  });
  expect(released).toMatchObject({ actor: { kind: "system" }, target: "kill_switch:writes_disabled" });
  const { body } = await server.call<{ killSwitches: { engaged: object[] }[] }>("GET", "/v1/kill-switches");
  expect(body.killSwitches.map(({ engaged }) => engaged)).toEqual([[]]);
});

function upkeepOf(
  duties: readonly (() => unknown)[],
  health: UpkeepParts["health"] = HEALTHY,
  {
    world = EMPTY_WORLD,
    execute = () => Promise.reject(new Error("nothing has expired")),
    nowMs = 0,
  }: Partial<Expiring> = {},
) {
  const failures: string[] = [];
  const last = gate();
  const upkeep = new Upkeep({
    engine: { world, execute: execute as UpkeepParts["engine"]["execute"] },
    health,
    duties: [...duties, () => last.open()],
    now: () => nowMs,
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
