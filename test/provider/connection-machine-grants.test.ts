/**
 * When a lease is asked for, what a grant says, and how long it holds. Its bound as a property: connection-machine-lease.test.ts.
 */
import { describe, expect, test } from "vitest";
import { isLeaseLive } from "../../provider/src/connection/lease.ts";
import { MachineDriver } from "./machine-driver.ts";

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
