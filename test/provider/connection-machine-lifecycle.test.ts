/** The lifecycle as the state machine decides it: a cold start, clocks that jump, and attempts that nothing ends. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isLeaseLive } from "../../provider/src/connection/lease.ts";
import { nextTickMs } from "../../provider/src/connection/link-times.ts";
import { EPOCH, MachineDriver, markOf, OTHER_EPOCH, pollAnswer } from "./machine-driver.ts";

const CURSOR = { epoch: EPOCH, revision: 5, mark: markOf(5) };
/** The longest wait that the limits allow: what a goodbye may ask for, twice 300 s. */
const LONGEST_WAIT_MS = 600_000;

const isLive = (machine: MachineDriver) =>
  isLeaseLive(machine.state.lease, machine.now.monotonicMs, machine.now.wallMs);

describe("a start with what another process held", () => {
  test("is STALE once the first attempt has failed, ERROR after the grace, and READY when the server is there", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start", restored: { cursor: CURSOR, canResume: true } });
    expect(machine.statuses()).toEqual([]);
    machine.end({ detail: "ECONNREFUSED" });
    expect(machine.statuses()).toEqual(["stale"]);
    expect(isLive(machine)).toBe(false);
    machine.run(10_000);
    expect(machine.statuses()).toEqual(["error"]);
    while (machine.state.link.kind !== "connecting") machine.run(100);
    machine.open();
    machine.hello();
    machine.grant();
    expect(machine.statuses()).toEqual(["ready"]);
  });

  test("is STALE when its caller won't wait longer, though nothing has failed yet", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start", restored: { cursor: CURSOR, canResume: true } });
    machine.input({ kind: "overdue" });
    expect(machine.statuses()).toEqual(["stale"]);
  });

  test("is READY at once where the server answers, never STALE in between", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start", restored: { cursor: CURSOR, canResume: true } });
    machine.open();
    expect(machine.sent()).toEqual([expect.objectContaining({ type: "hello", resume: CURSOR })]);
    machine.hello();
    machine.grant();
    expect(machine.statuses()).toEqual(["ready"]);
  });

  test("that can't be continued from asks for everything, and no lease counts before it is there", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start", restored: { cursor: CURSOR, canResume: false } });
    machine.open();
    expect(machine.sent()).toEqual([{ type: "hello", instance: "a".repeat(32), sdk: "test" }]);
    machine.hello();
    machine.grant();
    expect(machine.state.lease).toBeNull();
    machine.snapshot();
    machine.grant();
    expect(machine.statuses()).toEqual(["ready"]);
  });

  test("of another history drops it for the server's", () => {
    const machine = new MachineDriver();
    machine.input({ kind: "start", restored: { cursor: CURSOR, canResume: true } });
    machine.open();
    machine.hello({ epoch: OTHER_EPOCH });
    machine.grant();
    expect(machine.state.lease).toBeNull();
    machine.snapshot(5, OTHER_EPOCH);
    machine.grant();
    expect(machine.state.cursor?.epoch).toBe(OTHER_EPOCH);
    expect(machine.statuses()).toEqual(["ready"]);
  });

  test("does not replace what we hold ourselves", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.delta(5, 6);
    machine.input({ kind: "stop" });
    machine.input({ kind: "start", restored: { cursor: CURSOR, canResume: true } });
    expect(machine.state.cursor?.revision).toBe(6);
  });
});

test("without anything held, nothing but READY follows however long it takes", () => {
  const machine = new MachineDriver();
  machine.input({ kind: "start" });
  machine.input({ kind: "overdue" });
  machine.end();
  machine.run(60_000);
  expect(machine.statuses()).toEqual([]);
});

describe("a monotonic clock that goes back by an hour", () => {
  const back = (machine: MachineDriver) => {
    machine.now = { ...machine.now, monotonicMs: machine.now.monotonicMs - 3_600_000 };
    machine.input({ kind: "tick" });
  };

  test("delays the next attempt by no more than it was away before", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.end();
    back(machine);
    machine.run(1_000);
    expect(machine.state.link.kind).toBe("connecting");
  });

  test("neither delays the ask for a lease nor keeps the old one for longer", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    back(machine);
    machine.run(5_000);
    expect(machine.sent()).toContainEqual({ type: "lease", id: 2 });
    machine.grant();
    machine.pass(14_999);
    expect(isLive(machine)).toBe(true);
    machine.pass(1);
    expect(isLive(machine)).toBe(false);
  });

  test("does not outlive the wall clock: a lease of before the jump ends on time", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    machine.now = { monotonicMs: machine.now.monotonicMs - 3_600_000, wallMs: machine.now.wallMs + 15_000 };
    expect(isLive(machine)).toBe(false);
  });

  test("leaves the next lease the longer one, so that it counts", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    const before = machine.state.lease;
    machine.now = { ...machine.now, monotonicMs: machine.now.monotonicMs - 3_600_000 };
    machine.ping();
    machine.run(5_000);
    machine.grant();
    expect(machine.state.lease).not.toBe(before);
    expect(machine.state.lease?.asked.wallMs).toBe(machine.now.wallMs);
  });

  test("is no silence of the server's", () => {
    const machine = new MachineDriver();
    machine.becomeReady();
    back(machine);
    machine.run(5_000);
    machine.ping();
    machine.run(5_000);
    expect(machine.take("hangUp")).toEqual([]);
  });
});

describe("whatever happens", () => {
  const hex = (length: number) => fc.constantFrom("e".repeat(length), "f".repeat(length), markOf(5).slice(0, length));
  const revision = fc.oneof(fc.nat(9), fc.constant(Number.MAX_SAFE_INTEGER));
  const milliseconds = fc.oneof(fc.nat(20_000), fc.constantFrom(0, 1e12));
  const message = fc.oneof(
    fc.record({
      type: fc.constant("hello"),
      epoch: hex(32),
      revision,
      mark: hex(16),
      heartbeatMs: milliseconds,
      leaseMs: milliseconds,
      outcomesThrough: fc.nat(9),
      limits: fc.constant({ maxFrameBytes: 1, maxBatchItems: 1 }),
    }),
    fc.record({
      type: fc.constant("snapshot"),
      epoch: hex(32),
      revision,
      mark: hex(16),
      documents: fc.constant([]),
    }),
    fc.record({
      type: fc.constant("delta"),
      from: revision,
      revision,
      mark: hex(16),
      put: fc.constant([]),
      delete: fc.constant([]),
    }),
    fc.record({ type: fc.constant("lease"), id: fc.nat(9), revision }),
    fc.record({
      type: fc.constant("goodbye"),
      reason: fc.string(),
      retryAfterMs: milliseconds,
      spreadMs: milliseconds,
    }),
    fc.record({ type: fc.constant("error"), code: fc.string(), message: fc.string() }),
    fc.record({ type: fc.string() }),
  );
  const end = fc.record(
    {
      httpStatus: fc.constantFrom(200, 301, 400, 401, 403, 404, 407, 408, 426, 429, 500, 503),
      isProblem: fc.boolean(),
      code: fc.constantFrom(1000, 1001, 1006, 1009, 1015, 4400, 4401, 4408, 4409, 4412, 4413),
      retryAfterMs: milliseconds,
      detail: fc.constantFrom("ECONNREFUSED", "CERT_HAS_EXPIRED", "DEPTH_ZERO_SELF_SIGNED_CERT", "ENOTFOUND"),
    },
    { requiredKeys: ["detail"] },
  );
  const polled = fc.record(
    {
      status: fc.constantFrom(200, 304, 301, 401, 403, 404, 429, 500, 503),
      epoch: hex(32),
      revision,
      mark: hex(16),
      leaseMs: milliseconds,
      text: fc.constantFrom("<html>", "{}", "[".repeat(50)),
      nonce: fc.constantFrom("n-1", "another"),
      headers: fc.record({ "retry-after": fc.constantFrom("0", "9999999", "soon") }, { requiredKeys: [] }),
    },
    { requiredKeys: ["status"] },
  );
  const jump = fc.constantFrom(0, 1, 4_000, 30_000, 86_400_000, -1, -4_000, -86_400_000);
  const action = fc.oneof(
    fc
      .constantFrom("open", "ping", "tick", "failed", "overdue", "due", "due", "due", "grant")
      .map((kind) => ({ kind })),
    fc.record({
      kind: fc.constant("frame"),
      text: fc.oneof(
        message.map((each) => JSON.stringify(each)),
        fc.string(),
      ),
    }),
    fc.record({ kind: fc.constant("end"), end }),
    fc.record({ kind: fc.constant("polled"), polled }),
    fc.record({ kind: fc.constant("clocks"), monotonicMs: jump, wallMs: jump }),
  );

  type Action = typeof action extends fc.Arbitrary<infer Value> ? Value : never;

  function act(machine: MachineDriver, each: Action): void {
    if ("text" in each) machine.frame(each.text);
    else if ("end" in each) machine.end(each.end);
    else if ("polled" in each) {
      const { poll } = machine.state;
      const nonce = poll.kind === "asking" ? poll.nonce : "n-0";
      machine.input({ kind: "polled", nonce, result: pollAnswer({ nonce, ...each.polled }) });
    } else if ("wallMs" in each) {
      const { monotonicMs, wallMs } = machine.now;
      machine.now = { monotonicMs: monotonicMs + each.monotonicMs, wallMs: wallMs + each.wallMs };
      machine.input({ kind: "tick" });
    } else if (each.kind === "open") machine.open();
    else if (each.kind === "ping") machine.ping();
    else if (each.kind === "grant") machine.grant();
    else if (each.kind === "due") {
      machine.pass(Math.max(0, (nextTickMs(machine.state) ?? 0) - machine.now.monotonicMs));
      machine.input({ kind: "tick" });
    } else if (each.kind === "failed") machine.input({ kind: "failed", detail: "internal error" });
    else if (each.kind === "overdue") machine.input({ kind: "overdue" });
    else machine.input({ kind: "tick" });
  }

  const history = fc.record({
    restored: fc.option(fc.record({ cursor: fc.constant(CURSOR), canResume: fc.boolean() }), { nil: undefined }),
    random: fc.constantFrom(0, 0.5, 0.999),
    actions: fc.array(action, { maxLength: 60, size: "max" }),
  });

  function lived({ restored, random, actions }: typeof history extends fc.Arbitrary<infer Value> ? Value : never) {
    const machine = new MachineDriver();
    machine.random = random;
    machine.input({ kind: "start", ...(restored && { restored }) });
    for (const each of actions) act(machine, each);
    return machine;
  }

  test("something is due, within the longest wait that the limits allow: nothing but a stop ends the attempts", () => {
    fc.assert(
      fc.property(history, (past) => {
        const machine = lived(past);
        expect(machine.state.link.kind).not.toBe("idle");
        expect((nextTickMs(machine.state) ?? Number.NaN) - machine.now.monotonicMs).toBeLessThanOrEqual(
          LONGEST_WAIT_MS,
        );
      }),
      { numRuns: 2_000 },
    );
  });

  test("a healthy server makes it READY within the longest wait, and it holds what the server does", () => {
    fc.assert(
      fc.property(history, (past) => {
        const machine = lived(past);
        // Whatever the last attempt had heard, it ends; from here on the server is as it should be.
        machine.end({ detail: "the proxy was removed" });
        const untilMs = machine.now.monotonicMs + LONGEST_WAIT_MS;
        while (machine.state.link.kind !== "connecting" && machine.now.monotonicMs <= untilMs) {
          act(machine, { kind: "due" });
        }
        machine.effects.length = 0;
        machine.open();
        const [hello] = machine.sent();
        const resume = hello?.type === "hello" ? hello.resume : undefined;
        const canResume = resume?.epoch === EPOCH && resume.revision === 5 && resume.mark === markOf(5);
        machine.hello();
        if (!canResume) machine.snapshot();
        machine.grant();
        expect(machine.state.status).toBe("ready");
        expect(machine.state.cursor).toEqual(CURSOR);
        expect(machine.state.poll.kind).toBe("off");
      }),
      { numRuns: 1_000 },
    );
  });

  test("after a stop nothing is due, and no answer brings it back", () => {
    fc.assert(
      fc.property(history, fc.array(action, { maxLength: 20 }), (past, later) => {
        const machine = lived(past);
        machine.input({ kind: "stop" });
        machine.effects.length = 0;
        for (const each of later) act(machine, each);
        expect(machine.state.link.kind).toBe("idle");
        expect(nextTickMs(machine.state)).toBeNull();
        expect(machine.effects).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});
