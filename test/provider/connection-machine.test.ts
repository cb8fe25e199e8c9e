/**
 * Coming up, resuming, and disagreements with the server.
 */
import { describe, expect, test } from "vitest";
import { closeReason } from "../../provider/src/connection/close-reason.ts";
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
