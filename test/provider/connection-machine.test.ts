import { describe, expect, test } from "vitest";
import { closeReason } from "../../provider/src/connection/close-reason.ts";
import { isLeaseLive } from "../../provider/src/connection/lease.ts";
import { nextTickMs } from "../../provider/src/connection/link-times.ts";
import { EPOCH, MachineDriver, markOf, OTHER_EPOCH } from "./machine-driver.ts";

describe("coming up", () => {
  test("says hello, takes the snapshot, acknowledges it after the swap, and is ready with its first lease", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    expect(machine.take("connect")).toEqual([{ kind: "connect", connection: 1 }]);
    machine.open();
    expect(machine.sent()).toEqual([{ type: "hello", instance: "a".repeat(32), sdk: "test" }]);
    machine.hello();
    expect(machine.sent()).toEqual([{ type: "lease", id: 1 }]);
    machine.snapshot();
    const order = machine.effects.map((effect) => effect.kind);
    expect(order.indexOf("swap")).toBeLessThan(order.indexOf("acknowledge"));
    expect(machine.statuses()).toEqual([]);
    machine.grant();
    expect(machine.statuses()).toEqual(["ready"]);
  });

  test("without a lease is never ready", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    machine.open();
    machine.hello();
    machine.snapshot();
    expect(machine.state.status).toBe("not_ready");
  });

  test("gives up on a server that opens the socket and says nothing, and tries again", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    machine.open();
    machine.run(10_000);
    expect(machine.take("hangUp")).toHaveLength(1);
    machine.run(1_000);
    expect(machine.take("connect").at(-1)).toEqual({ kind: "connect", connection: 2 });
  });

  test("gives up on a server that promises a revision and does not send it", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    machine.open();
    machine.hello();
    for (let i = 0; i < 4; i++) {
      machine.run(2_500);
      machine.ping();
    }
    expect(machine.take("hangUp")).toHaveLength(1);
  });
});

describe("resuming", () => {
  test("gives the cursor and is ready at once where nothing is new", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.end();
    expect(machine.statuses()).toEqual(["stale"]);
    machine.run(1_000);
    machine.open();
    expect(machine.sent()).toContainEqual(
      expect.objectContaining({ type: "hello", resume: { epoch: EPOCH, revision: 5, mark: markOf(5) } }),
    );
    machine.hello();
    expect(machine.statuses()).toEqual(["ready"]);
  });

  test("waits for the delta where something is new", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.end();
    machine.run(1_000);
    machine.open();
    machine.hello({ revision: 7 });
    machine.delta(5, 6);
    expect(machine.state.status).toBe("stale");
    machine.delta(6, 7);
    expect(machine.state.status).toBe("ready");
  });

  test("with the same revision and another mark waits for a snapshot", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.end();
    machine.run(1_000);
    machine.open();
    machine.hello({ mark: "9".repeat(16) });
    expect(machine.state.status).toBe("stale");
    machine.snapshot();
    expect(machine.state.status).toBe("ready");
  });

  test("drops its lease when the server speaks for another history", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.end();
    machine.run(1_000);
    machine.open();
    machine.hello({ epoch: OTHER_EPOCH, revision: 2 });
    expect(machine.state.lease).toBeNull();
    machine.snapshot(2, OTHER_EPOCH);
    machine.grant(2);
    expect(machine.state.status).toBe("ready");
    expect(machine.state.cursor).toEqual({ epoch: OTHER_EPOCH, revision: 2, mark: markOf(2) });
  });
});

describe("a disagreement with the server", () => {
  test("a delta from another revision is not applied: hang up and ask for a whole snapshot", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.delta(4, 6);
    expect(machine.take("swap")).toEqual([]);
    expect(machine.take("hangUp")).toEqual([expect.objectContaining({ code: 4400 })]);
    machine.run(1_000);
    machine.open();
    expect(machine.sent().at(-1)).toEqual({ type: "hello", instance: "a".repeat(32), sdk: "test" });
  });

  test.each<[string, (machine: MachineDriver) => void]>([
    ["a snapshot that is older than what we hold", (machine) => machine.snapshot(4)],
    ["a snapshot of another history than the hello's", (machine) => machine.snapshot(6, OTHER_EPOCH)],
    ["a delta that leads nowhere", (machine) => machine.delta(5, 5)],
    ["a delta that leads back", (machine) => machine.delta(5, 4)],
  ])("%s is not applied: what we acknowledged is never taken back within a connection", (_, say) => {
    const machine = new MachineDriver();
    machine.becomeReady();
    say(machine);
    expect(machine.take("swap")).toEqual([]);
    expect(machine.state.cursor?.revision).toBe(5);
    expect(machine.take("hangUp")).toEqual([expect.objectContaining({ code: 4400 })]);
  });

  test("a snapshot from before the hello is not what the hello promised", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    machine.open();
    machine.hello({ revision: 5 });
    machine.snapshot(4);
    expect(machine.take("swap")).toEqual([]);
    expect(machine.take("hangUp")).toEqual([expect.objectContaining({ code: 4400 })]);
  });

  test("nothing is added to what was doubted: a delta that comes instead of the whole snapshot ends the connection", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.delta(4, 6);
    machine.run(1_000);
    machine.open();
    machine.hello({ revision: 6 });
    machine.take("hangUp");
    machine.delta(5, 6);
    expect(machine.take("swap")).toEqual([]);
    expect(machine.take("hangUp")).toEqual([expect.objectContaining({ code: 4400 })]);
  });

  test("a server that says in its hello that it went back is followed back", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.end();
    machine.run(1_000);
    machine.open();
    machine.hello({ revision: 3 });
    machine.snapshot(3);
    expect(machine.state.cursor?.revision).toBe(3);
  });

  test("a change that the server names and never sends is asked for as a whole", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    // Its delta was lost: every answer is ahead of us from now on.
    for (let second = 0; second < 16; second++) {
      machine.run(1_000);
      machine.ping();
      if (machine.sent().length > 0) machine.grant(6);
    }
    expect(machine.take("hangUp")).toEqual([expect.objectContaining({ code: 4400 })]);
    expect(machine.state.mustResync).toBe(true);
  });

  test.each([
    ["no JSON", "<html>"],
    ["no type", "{}"],
    ["a snapshot without documents", JSON.stringify({ type: "snapshot", epoch: EPOCH, revision: 1, mark: markOf(1) })],
    ["a list", "[]"],
  ])("a frame that is %s closes the socket and never the process", (_, text) => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.frame(text);
    expect(machine.take("hangUp")).toEqual([expect.objectContaining({ code: 4400 })]);
    expect(machine.state.link.kind).toBe("waiting");
  });

  test("a frame of an unknown type is told and passed over, so that the protocol can grow", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.frame(JSON.stringify({ type: "fromTheFuture" }));
    expect(machine.effects).toEqual([expect.objectContaining({ kind: "problem", level: "warn" })]);
  });

  test("what a given-up socket still says is not heard", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.end();
    machine.input({ kind: "frame", connection: 1, text: "<html>" });
    machine.input({ kind: "opened", connection: 1 });
    machine.input({ kind: "ended", connection: 1, end: { detail: "late" } });
    expect(machine.take("hangUp")).toEqual([]);
    expect(machine.sent()).toEqual([]);
  });
});

describe("silence", () => {
  test("two missed heartbeats end the socket", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.run(12_400);
    expect(machine.take("hangUp")).toEqual([]);
    machine.run(100);
    expect(machine.take("hangUp")).toEqual([expect.objectContaining({ reason: "two heartbeats missed" })]);
  });

  test("ends the socket within minutes whatever heartbeat the server promised", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    machine.open();
    machine.hello({ heartbeatMs: 1e12 });
    machine.snapshot();
    machine.grant();
    machine.run(150_000);
    expect(machine.take("hangUp")).toEqual([expect.objectContaining({ code: 4413 })]);
  });

  test("a ping keeps the socket", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    for (let i = 0; i < 20; i++) {
      machine.run(5_000);
      machine.ping();
    }
    expect(machine.take("hangUp")).toEqual([]);
  });

  test("an event loop that stood still reads the waiting pings before it judges", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.pass(60_000);
    machine.input({ kind: "tick" });
    expect(machine.take("hangUp")).toEqual([]);
    machine.run(7_600);
    expect(machine.take("hangUp")).toHaveLength(1);
  });
});

describe("status", () => {
  test("is STALE at once, ERROR after the grace, READY again, and never flaps on a normal reconnect", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.end();
    machine.run(9_999);
    expect(machine.statuses()).toEqual(["stale"]);
    machine.run(1);
    expect(machine.statuses()).toEqual(["error"]);
    while (machine.state.link.kind !== "connecting") machine.run(100);
    machine.open();
    machine.hello();
    machine.grant();
    expect(machine.statuses()).toEqual(["ready"]);
  });

  test("is STALE when leases stop coming over an open socket", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    for (let i = 0; i < 3; i++) {
      machine.run(4_999);
      machine.ping();
    }
    expect(machine.statuses()).toEqual([]);
    machine.run(10);
    expect(machine.statuses()).toEqual(["stale"]);
    machine.run(5_000);
    machine.grant();
    expect(machine.statuses()).toEqual(["ready"]);
  });

  test("before the first READY is neither STALE nor ERROR, however long it takes", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    for (let i = 0; i < 50; i++) {
      if (machine.state.link.kind === "connecting") machine.end();
      machine.run(10_000);
    }
    expect(machine.statuses()).toEqual([]);
  });
});

describe("coming back", () => {
  const delayOf = (machine: MachineDriver) =>
    machine.state.link.kind === "waiting" ? machine.state.link.untilMs - machine.now.monotonicMs : null;

  test("doubles from 250 ms, capped at 1 s for 30 s and at 10 s after", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    const delays: (number | null)[] = [];
    for (let i = 0; i < 40; i++) {
      machine.end();
      delays.push(delayOf(machine));
      machine.run(delays.at(-1) ?? 0);
    }
    // DESIGN 5, with the random number at its upper end.
    expect(delays.slice(0, 4)).toEqual([250, 500, 1_000, 1_000]);
    expect(delays.at(-1)).toBe(10_000);
  });

  test("after minutes of health starts from the first delay", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    for (let i = 0; i < 5; i++) {
      machine.end();
      machine.run(10_000);
    }
    machine.open();
    machine.hello();
    machine.snapshot();
    machine.grant();
    for (let i = 0; i < 13; i++) {
      machine.run(5_000);
      machine.ping();
    }
    machine.end();
    expect(delayOf(machine)).toBe(250);
  });

  test("a server that is up for a moment and gone again is tried every second at most, not at once", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    for (let i = 0; i < 10; i++) {
      machine.end();
      machine.run(1_000);
      machine.open();
      machine.hello();
      machine.grant();
    }
    machine.end();
    expect(delayOf(machine)).toBe(1_000);
  });

  test("honours a goodbye with its spread", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.random = 0.5;
    machine.receive({ type: "goodbye", reason: "restart", retryAfterMs: 2_000, spreadMs: 3_000 });
    machine.end({ code: 1001, detail: "going away" });
    expect(delayOf(machine)).toBe(3_500);
  });

  test("a goodbye can't send it away for ever", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.receive({ type: "goodbye", reason: "restart", retryAfterMs: 1e12, spreadMs: 1e12 });
    machine.end({ code: 1001, detail: "going away" });
    expect(delayOf(machine)).toBe(600_000);
  });

  test("honours Retry-After", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    machine.end({ httpStatus: 503, retryAfterMs: 4_000, detail: "busy" });
    expect(delayOf(machine)).toBe(4_250);
  });

  test.each([
    { httpStatus: 401, detail: "HTTP 401" },
    { httpStatus: 403, isProblem: true, detail: "HTTP 403" },
    { code: 4401, detail: "revoked" },
  ])("a refused token ($detail) is tried again after minutes, for ever", (end) => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    for (let i = 0; i < 20; i++) {
      machine.random = i / 20;
      machine.end(end);
      const delay = delayOf(machine) ?? 0;
      expect(delay).toBeGreaterThanOrEqual(60_000);
      expect(delay).toBeLessThanOrEqual(300_000);
      machine.run(delay);
      expect(machine.state.link.kind).toBe("connecting");
    }
    expect(machine.take("refused")).toHaveLength(20);
  });

  test("a 403 that is not the server's own says nothing about the token, but is knocked at as rarely", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    machine.random = 0;
    machine.end({ httpStatus: 403, isProblem: false, detail: "HTTP 403" });
    expect(machine.take("refused")).toEqual([]);
    expect(delayOf(machine)).toBe(60_000);
  });

  test("no end of a socket ends the attempts", () => {
    const ends = [200, 301, 400, 404, 410, 429, 500, 502].map((httpStatus) => ({ httpStatus, detail: "x" }));
    const codes = [1000, 1002, 1006, 1009, 1011, 1015, 4400, 4408, 4409, 4412, 4413].map((code) => ({
      code,
      detail: "x",
    }));
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    for (const end of [...ends, ...codes, { detail: "CERT_HAS_EXPIRED" }]) {
      machine.end(end);
      machine.run(10_000);
      expect(machine.state.link.kind).toBe("connecting");
    }
  });
});

describe("the lease", () => {
  const isLive = (machine: MachineDriver) =>
    isLeaseLive(machine.state.lease, machine.now.monotonicMs, machine.now.wallMs);

  test("runs from the ask, not from the answer", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start" });
    machine.open();
    machine.hello();
    machine.snapshot();
    machine.pass(4_000);
    machine.grant();
    machine.pass(10_999);
    expect(isLive(machine)).toBe(true);
    machine.pass(1);
    expect(isLive(machine)).toBe(false);
  });

  test("is asked for every third of its length", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    const asks: number[] = [];
    for (let i = 0; i < 3; i++) {
      machine.run(4_999);
      expect(machine.sent()).toEqual([]);
      machine.run(1);
      asks.push(...machine.sent().flatMap((message) => (message.type === "lease" ? [message.id] : [])));
      machine.ping();
    }
    expect(asks).toEqual([2, 3, 4]);
  });

  test("an answer that overtakes its delta is void, and is asked for again once the delta is there", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.run(5_000);
    machine.sent();
    machine.grant(6);
    expect(machine.state.lease?.asked.monotonicMs).toBe(1_000);
    machine.delta(5, 6);
    expect(machine.sent()).toEqual([{ type: "lease", id: 3 }]);
    machine.grant(6);
    expect(machine.state.lease?.asked.monotonicMs).toBe(6_000);
  });

  test("an answer that nobody asked for, or that came before, counts for nothing", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    const before = machine.state.lease;
    machine.receive({ type: "lease", id: 99, revision: 5 });
    machine.receive({ type: "lease", id: 1, revision: 5 });
    expect(machine.state.lease).toBe(before);
  });

  test("an ask of the last connection is not answered by the next", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.run(5_000);
    const asked = machine.state.leaseIds;
    const before = machine.state.lease;
    machine.end();
    machine.run(1_000);
    machine.open();
    machine.hello();
    machine.receive({ type: "lease", id: asked, revision: 5 });
    expect(machine.state.lease).toBe(before);
  });

  test("a late answer does not shorten a longer lease", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.run(5_000);
    machine.run(5_000);
    machine.receive({ type: "lease", id: 3, revision: 5 });
    const longer = machine.state.lease;
    machine.receive({ type: "lease", id: 2, revision: 5 });
    expect(machine.state.lease).toBe(longer);
  });

  test("a wall clock that jumps ahead ends it early, one that jumps back is ignored", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.now = { ...machine.now, wallMs: machine.now.wallMs - 3_600_000 };
    expect(isLive(machine)).toBe(true);
    machine.pass(15_000);
    expect(isLive(machine)).toBe(false);
    const ahead = new MachineDriver();
    ahead.becomeReady();
    ahead.now = { ...ahead.now, wallMs: ahead.now.wallMs + 15_000 };
    expect(isLive(ahead)).toBe(false);
  });

  test("a machine that slept, its monotonic clock standing still, wakes without a lease", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.now = { monotonicMs: machine.now.monotonicMs + 1, wallMs: machine.now.wallMs + 20_000 };
    machine.input({ kind: "tick" });
    expect(isLive(machine)).toBe(false);
    expect(machine.statuses()).toEqual(["stale"]);
  });

  test("survives a cut until it lapses", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.end();
    machine.pass(14_999);
    expect(isLive(machine)).toBe(true);
    machine.pass(1);
    expect(isLive(machine)).toBe(false);
  });
});

describe("stopping", () => {
  test("says goodbye, hangs up and has nothing due any more", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.input({ kind: "stop" });
    expect(machine.sent()).toEqual([{ type: "goodbye" }]);
    expect(machine.take("hangUp")).toEqual([expect.objectContaining({ code: 1000 })]);
    expect(nextTickMs(machine.state)).toBeNull();
    machine.input({ kind: "tick" });
    expect(machine.effects).toEqual([]);
  });

  test("keeps what it holds, and a later start resumes from it", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.input({ kind: "stop" });
    machine.sent();
    machine.input({ kind: "start" });
    machine.open();
    expect(machine.sent()).toContainEqual(
      expect.objectContaining({ resume: expect.objectContaining({ revision: 5 }) }),
    );
  });
});

test("a close frame's reason is at most 123 bytes of whole characters, as RFC 6455 section 5.5 has it", () => {
  const bytes = new TextEncoder();
  for (const text of ["€".repeat(200), `a${"€".repeat(200)}`, `ab${"𝄞".repeat(100)}`, "\ud834".repeat(200)]) {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.frame(`["${text}`);
    const [hangUp] = machine.take("hangUp");
    expect(bytes.encode(hangUp?.reason).length).toBeLessThanOrEqual(123);
    expect(hangUp?.reason.length).toBeGreaterThan(0);
    expect(closeReason(text).length).toBeGreaterThan(29);
    expect(text.startsWith(closeReason(text))).toBe(true);
    expect(bytes.encode(closeReason(text)).length).toBeLessThanOrEqual(123);
  }
  expect(closeReason("a".repeat(124))).toBe("a".repeat(123));
  expect(closeReason(`a${"𝄞".repeat(100)}`)).toBe(`a${"𝄞".repeat(30)}`);
  expect(closeReason("short")).toBe("short");
});

test("what can't be handled before hello ends the connection as well, and the next one takes a whole snapshot", () => {
  const machine = new MachineDriver();
  machine.becomeReady();
  machine.end();
  machine.run(10_000);
  machine.open();
  machine.input({ kind: "failed", detail: "internal error" });
  expect(machine.take("hangUp")).toHaveLength(1);
  machine.effects.length = 0;
  machine.run(10_000);
  machine.open();
  expect(machine.sent()).toEqual([{ type: "hello", instance: "a".repeat(32), sdk: "test" }]);
});
