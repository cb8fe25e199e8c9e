/**
 * Silence, what comes after the end of a connection, and the end that the caller asks for.
 */
import { describe, expect, test } from "vitest";
import { nextTickMs } from "../../provider/src/connection/link-times.ts";
import { MachineDriver } from "./machine-driver.ts";

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
