/** The poll path as the state machine decides it: when it begins, what its answers permit, and that nothing ends it but the stream. */
import { describe, expect, test } from "vitest";
import { isLeaseLive } from "../../provider/src/connection/lease.ts";
import { nextTickMs } from "../../provider/src/connection/link-times.ts";
import type { PollResult } from "../../provider/src/connection/state.ts";
import { EPOCH, MachineDriver, markOf, OTHER_EPOCH, pollAnswer } from "./machine-driver.ts";

const BLOCKED = { httpStatus: 404, detail: "HTTP 404" };
const DOWN = { code: 1006, detail: "ECONNREFUSED" };

/** READY by the stream at revision 5, then cut off from it by something that answers 404 to every upgrade. */
function blocked(): MachineDriver {
  const machine = new MachineDriver();
  machine.becomeReady();
  machine.end();
  while (machine.state.link.kind !== "connecting") machine.run(100);
  machine.end(BLOCKED);
  return machine;
}

/** ... and in step again by the poll path. */
function polling(): MachineDriver {
  const machine = blocked();
  machine.untilPolled();
  machine.answerPoll({ status: 304 });
  machine.effects.length = 0;
  return machine;
}

const isLive = (machine: MachineDriver) =>
  isLeaseLive(machine.state.lease, machine.now.monotonicMs, machine.now.wallMs);

/** Time passes; whatever the stream tries is answered with 404, and polls with what `answer` does. */
function live(machine: MachineDriver, ms: number, answer: (machine: MachineDriver) => void): void {
  const untilMs = machine.now.monotonicMs + ms;
  for (;;) {
    const due = nextTickMs(machine.state);
    if (due === null || due > untilMs) break;
    machine.pass(Math.max(0, due - machine.now.monotonicMs));
    machine.input({ kind: "tick" });
    if (machine.state.link.kind === "connecting") machine.end(BLOCKED);
    if (machine.state.poll.kind === "asking") answer(machine);
  }
  machine.pass(untilMs - machine.now.monotonicMs);
}

describe("polling begins", () => {
  test("within seconds where something answers the upgrade and opens no stream", () => {
    const machine = blocked();
    expect(machine.take("poll")).toEqual([]);
    const nonce = machine.untilPolled(3_500);
    expect(machine.take("poll")).toEqual([
      { kind: "poll", nonce, cursor: { epoch: EPOCH, revision: 5, mark: markOf(5) } },
    ]);
  });

  test.each([
    ["a socket that opens and brings no hello", (machine: MachineDriver) => machine.open()],
    ["a connect that is never answered", () => {}],
  ])("after %s", (_, connected) => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    connected(machine);
    machine.untilPolled(14_000);
    expect(machine.take("hangUp")).toHaveLength(1);
    expect(machine.take("poll")).toMatchObject([{ cursor: null }]);
  });

  test("not while the eager reconnects last, where the server is down or busy: a restart meets no polls", () => {
    for (const end of [DOWN, { httpStatus: 503, detail: "HTTP 503" }, { httpStatus: 429, detail: "HTTP 429" }]) {
      const machine = new MachineDriver();
      machine.becomeReady();
      machine.end();
      const endedMs = machine.now.monotonicMs;
      // DESIGN 5: the eager time is 30 s.
      while (machine.now.monotonicMs < endedMs + 30_000) {
        if (machine.state.link.kind === "connecting") machine.end(end);
        machine.run(50);
      }
      expect(machine.take("poll")).toEqual([]);
      machine.random = 0;
      machine.untilPolled(3_500);
    }
  });

  test("not before the time that the server's goodbye asked for", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.receive({ type: "goodbye", reason: "maintenance", retryAfterMs: 120_000, spreadMs: 0 });
    machine.end({ code: 1001, detail: "going away" });
    expect(() => machine.untilPolled(119_000)).toThrow("no poll");
  });

  test("at a random moment, so that runtimes that lost the stream together don't poll together", () => {
    const delays = [0, 0.5, 0.999].map((random) => {
      const machine = new MachineDriver();
      machine.input({ kind: "start" });
      machine.random = random;
      machine.end(BLOCKED);
      const { poll } = machine.state;
      return poll.kind === "waiting" ? poll.untilMs - machine.now.monotonicMs : null;
    });
    // Limits: from 500 ms to 3 500 ms.
    expect(delays).toEqual([500, 2_000, 3_497]);
  });

  test("never beside a stream that is in step", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    for (let i = 0; i < 200; i++) {
      machine.run(5_000);
      machine.ping();
      machine.grant();
    }
    expect(machine.take("poll")).toEqual([]);
  });
});

describe("while polling", () => {
  test("the provider is READY and says by which way, and the lease runs from the ask", () => {
    const machine = blocked();
    machine.take("status");
    machine.untilPolled();
    machine.pass(15_000);
    machine.answerPoll({ status: 500 });
    expect(isLive(machine)).toBe(false);
    machine.untilPolled();
    const askedMs = machine.now.monotonicMs;
    machine.pass(4_000);
    machine.answerPoll({ status: 304 });
    expect(machine.take("status").at(-1)).toMatchObject({
      status: "ready",
      detail: "in step with the server at revision 5, by polling",
    });
    expect(machine.state.lease?.asked.monotonicMs).toBe(askedMs);
    machine.pass(10_999);
    expect(isLive(machine)).toBe(true);
    machine.pass(1);
    expect(isLive(machine)).toBe(false);
  });

  test("stays READY for an hour, keeps its lease, and goes on trying the stream all the time", () => {
    const machine = polling();
    const connectsBefore = machine.state.connections;
    live(machine, 3_600_000, (each) => {
      expect(isLive(each)).toBe(true);
      each.answerPoll({ status: 304 });
    });
    expect(machine.statuses()).toEqual([]);
    // The delays are capped at 10 s, so there are at least 360 attempts.
    expect(machine.state.connections - connectsBefore).toBeGreaterThanOrEqual(360);
  });

  test("a snapshot is swapped in whole, before anything is said about it, and its revision asked with next", () => {
    const machine = polling();
    machine.untilPolled();
    machine.effects.length = 0;
    machine.answerPoll({ revision: 6 });
    expect(machine.effects.map((effect) => effect.kind)).toEqual(["swap", "acknowledge"]);
    machine.untilPolled();
    expect(machine.take("poll").at(-1)?.cursor).toEqual({ epoch: EPOCH, revision: 6, mark: markOf(6) });
  });

  test("a third of a lease lies between polls, less up to a quarter of it, and at most 5 s", () => {
    for (const [leaseMs, random, expectedMs] of [
      [15_000, 0, 5_000],
      [15_000, 1, 3_750],
      [6_000, 0, 2_000],
      [3_600_000, 0, 5_000],
      [0, 0, 200],
    ] as const) {
      const machine = blocked();
      machine.untilPolled();
      machine.random = random;
      const askedMs = machine.now.monotonicMs;
      machine.answerPoll({ status: 304, leaseMs });
      expect(machine.state.poll).toMatchObject({ kind: "waiting", untilMs: askedMs + expectedMs });
    }
  });

  test("one failed poll is nothing yet, two in a row are a lost connection, and the next good one mends it", () => {
    const machine = polling();
    machine.untilPolled();
    machine.answerPoll({ status: 502, text: "" });
    expect(machine.statuses()).toEqual([]);
    machine.untilPolled();
    machine.answerPoll({ status: 502, text: "" });
    expect(machine.statuses()).toEqual(["stale"]);
    machine.untilPolled();
    machine.answerPoll({ status: 304 });
    expect(machine.statuses()).toEqual(["ready"]);
  });

  test("no answer in time ends the request, and the next one follows", () => {
    const machine = polling();
    const slow = machine.untilPolled();
    machine.run(10_000);
    expect(machine.take("abandonPoll")).toHaveLength(1);
    const next = machine.untilPolled();
    expect(next).not.toBe(slow);
    const before = machine.state;
    machine.input({ kind: "polled", nonce: slow, result: pollAnswer({ nonce: slow, revision: 9 }) });
    expect(machine.state.cursor).toBe(before.cursor);
    expect(machine.state.lease).toBe(before.lease);
  });

  test("outcomes are told to wait, and nothing of the poll path sends any", () => {
    const machine = polling();
    live(machine, 60_000, (each) => each.answerPoll({ status: 304 }));
    expect(machine.take("resumeOutcomes")).toEqual([]);
    expect(machine.take("ackOutcomes")).toEqual([]);
  });
});

describe("an answer that permits nothing", () => {
  /** A poll under way at revision 5, with the lease of long ago. */
  function asking(): MachineDriver {
    const machine = polling();
    machine.untilPolled();
    machine.effects.length = 0;
    return machine;
  }

  test.each<[string, (nonce: string) => PollResult]>([
    ["a 304 that was stored on the way", () => pollAnswer({ status: 304, nonce: "n-1" })],
    ["a 200 that was stored on the way", () => pollAnswer({ revision: 4, nonce: "n-1" })],
    ["a 304 of another process", () => pollAnswer({ status: 304, nonce: "other-3" })],
    ["a 304 without a nonce", () => pollAnswer({ status: 304 })],
    ["a 304 for a revision ahead of ours", (nonce) => pollAnswer({ status: 304, revision: 6, nonce })],
    ["a 304 for our revision of another history", (nonce) => pollAnswer({ status: 304, mark: "9".repeat(16), nonce })],
    ["a 200 whose headers and body differ", (nonce) => pollAnswer({ nonce, headers: { "flagback-revision": "7" } })],
    [
      "a 304 without a revision",
      (nonce) => pollAnswer({ status: 304, nonce, headers: { "flagback-revision": undefined } }),
    ],
    [
      "a revision that is no number",
      (nonce) => pollAnswer({ status: 304, nonce, headers: { "flagback-revision": "" } }),
    ],
    ["HTML", (nonce) => ({ kind: "response", status: 200, headers: {}, text: `<html>${nonce}</html>` })],
    ["HTML with our headers", (nonce) => pollAnswer({ nonce, text: "<html>" })],
    ["a snapshot without documents", (nonce) => pollAnswer({ nonce, text: "{}" })],
    ["a body deeper than the stack", (nonce) => pollAnswer({ nonce, text: "[".repeat(200_000) })],
    ["a redirect", () => ({ kind: "response", status: 302, headers: { location: "/" }, text: "" })],
    ["a broken connection", () => ({ kind: "failure", detail: "ECONNRESET" })],
    ["500", () => ({ kind: "response", status: 500, headers: {}, text: "" })],
    ["401", () => ({ kind: "response", status: 401, headers: {}, text: "" })],
    ["403", () => ({ kind: "response", status: 403, headers: {}, text: "" })],
  ])("%s swaps nothing in, grants nothing, and is not the last poll", (_, answer) => {
    const machine = asking();
    const { nonce } = machine.state.poll as { nonce: string };
    const before = machine.state;
    machine.input({ kind: "polled", nonce, result: answer(nonce) });
    expect(machine.take("swap")).toEqual([]);
    expect(machine.state.lease).toBe(before.lease);
    expect(machine.state.cursor).toBe(before.cursor);
    expect(machine.untilPolled(301_000)).not.toBe(nonce);
  });

  test("that says nothing is new in another history leads to a whole snapshot and to no lease", () => {
    const machine = asking();
    machine.answerPoll({ status: 304, epoch: OTHER_EPOCH });
    expect(machine.state.lease).toBeNull();
    machine.untilPolled();
    expect(machine.take("poll")).toMatchObject([{ cursor: null }]);
    machine.answerPoll({ revision: 5, epoch: OTHER_EPOCH });
    expect(machine.state.cursor?.epoch).toBe(OTHER_EPOCH);
    expect(isLive(machine)).toBe(true);
  });

  test("of a refused token is asked for again after minutes, for ever, and said once", () => {
    const machine = asking();
    for (let i = 0; i < 20; i++) {
      machine.random = i / 20;
      machine.answerPoll({ status: 401 });
      const { poll } = machine.state;
      const delayMs = poll.kind === "waiting" ? poll.untilMs - machine.now.monotonicMs : 0;
      expect(delayMs).toBeGreaterThanOrEqual(60_000);
      expect(delayMs).toBeLessThanOrEqual(300_000);
      machine.untilPolled(301_000);
    }
    expect(machine.take("refused")).toHaveLength(20);
    expect(new Set(machine.take("problem").map(({ key }) => key))).toContain("token.refused");
  });

  test("names a time to come back, which is honoured", () => {
    const machine = asking();
    machine.answerPoll({ status: 503, headers: { "retry-after": "7" } });
    // 7 s, and a first delay of 1 s with the random number at its upper end.
    expect(machine.state.poll).toMatchObject({ kind: "waiting", untilMs: machine.now.monotonicMs + 8_000 });
  });

  test("doubles the delay up to 30 s, of which half is random", () => {
    const machine = asking();
    const delays: number[] = [];
    for (let i = 0; i < 8; i++) {
      machine.random = i === 7 ? 0 : 1;
      machine.answerPoll({ status: 500 });
      if (machine.state.poll.kind === "waiting") delays.push(machine.state.poll.untilMs - machine.now.monotonicMs);
      machine.untilPolled(31_000);
    }
    expect(delays).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 15_000]);
  });

  test("could not be swapped in: it permits nothing, and everything is asked for anew", () => {
    const machine = asking();
    machine.answerPoll({ revision: 6 });
    machine.input({ kind: "failed", detail: "internal error" });
    expect(machine.state.lease).toBeNull();
    expect(machine.state.status).toBe("stale");
    machine.untilPolled();
    expect(machine.take("poll").at(-1)?.cursor).toBeNull();
  });
});

describe("the stream, once it is back", () => {
  test("ends polling, without a word about the status", () => {
    const machine = polling();
    while (machine.state.link.kind !== "connecting") machine.run(100);
    const pollsBefore = machine.state.polls;
    machine.open();
    machine.hello();
    machine.grant();
    expect(machine.state.poll).toEqual({ kind: "off" });
    expect(machine.statuses()).toEqual([]);
    for (let i = 0; i < 20; i++) {
      machine.run(5_000);
      machine.ping();
      machine.grant();
    }
    expect(machine.state.polls).toBe(pollsBefore);
    expect(machine.statuses()).toEqual([]);
  });

  test("drops the request under way, whose late answer changes nothing", () => {
    const machine = polling();
    while (machine.state.link.kind !== "connecting") machine.run(100);
    machine.open();
    const nonce = machine.untilPolled();
    machine.hello({ revision: 7 });
    machine.delta(5, 7);
    expect(machine.take("abandonPoll").length).toBeGreaterThan(0);
    machine.input({ kind: "polled", nonce, result: pollAnswer({ nonce, revision: 6 }) });
    expect(machine.state.cursor?.revision).toBe(7);
  });

  test("is overtaken by a newer snapshot of the poll path: it can't take us back, and resumes from there", () => {
    const machine = polling();
    while (machine.state.link.kind !== "connecting") machine.run(100);
    machine.open();
    machine.untilPolled();
    machine.sent();
    machine.answerPoll({ revision: 8 });
    expect(machine.take("hangUp")).toHaveLength(1);
    machine.input({
      kind: "frame",
      connection: machine.state.connections,
      text: JSON.stringify({ type: "snapshot", epoch: EPOCH, revision: 7, mark: markOf(7), documents: [] }),
    });
    expect(machine.state.cursor?.revision).toBe(8);
    while (machine.state.link.kind !== "connecting") machine.run(100);
    machine.open();
    expect(machine.sent()).toContainEqual(
      expect.objectContaining({ resume: expect.objectContaining({ revision: 8 }) }),
    );
  });

  test("that speaks for another history voids what was asked before", () => {
    const machine = polling();
    while (machine.state.link.kind !== "connecting") machine.run(100);
    machine.open();
    const nonce = machine.untilPolled();
    machine.hello({ epoch: OTHER_EPOCH, revision: 2 });
    machine.input({ kind: "polled", nonce, result: pollAnswer({ status: 304, nonce }) });
    expect(machine.state.lease).toBeNull();
  });
});

test("stopping drops the request under way and asks no more", () => {
  const machine = polling();
  machine.untilPolled();
  machine.effects.length = 0;
  machine.input({ kind: "stop" });
  expect(machine.take("abandonPoll")).toHaveLength(1);
  expect(nextTickMs(machine.state)).toBeNull();
});
