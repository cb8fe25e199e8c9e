/**
 * The bound of DESIGN 6 as a property: an honest server, a network that delays, reorders, repeats and drops what it likes,
 * clocks as the bound assumes them, and a change at T0. Whoever reads after T0 + L without the change reads without a lease.
 */
import { type Cursor, decodeServerFrame } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isLeaseLive } from "../../provider/src/connection/lease.ts";
import { nextTickMs } from "../../provider/src/connection/link-times.ts";
import type { PollResult } from "../../provider/src/connection/state.ts";
import { EPOCH, MachineDriver, markOf, pollAnswer } from "./machine-driver.ts";

const LEASE_MS = 15_000;

type OnTheWire =
  | { readonly connection: number; readonly text: string }
  | { readonly nonce: string; readonly result: PollResult };

/** What `awake` covers: the monotonic clock counts true time and the wall clock jumps; or the machine sleeps, with an honest wall clock. */
type Clocks = "awake" | "sleeping";

class World {
  readonly machine = new MachineDriver();
  readonly wire: OnTheWire[] = [];
  readonly #clocks: Clocks;
  readonly #pollAnswers: PollResult[] = [];
  #trueMs = 0;
  #revision = 5;
  #committedMs: number | null = null;
  #sent = 0;

  /** READY at revision 5; where the way is `poll`, the stream was cut since and is blocked. */
  constructor(clocks: Clocks, way: "stream" | "poll", random: number) {
    this.#clocks = clocks;
    this.machine.random = random;
    this.machine.input({ kind: "start" });
    this.machine.open();
    this.exchange();
    if (way === "stream") return;
    this.machine.end();
    while (this.machine.state.poll.kind === "off") {
      this.machine.end({ httpStatus: 404, detail: "blocked" });
      this.tick();
    }
  }

  /** Everything reaches the other end, in order. */
  exchange(): void {
    for (let turn = 0; turn < 3; turn++) {
      this.serve();
      while (this.wire.length > 0) this.deliver(0, false);
    }
  }

  commit(): void {
    if (this.#committedMs !== null) return;
    this.#committedMs = this.#trueMs;
    this.#revision = 6;
    this.#toStream({ type: "delta", from: 5, revision: 6, mark: markOf(6), put: [], delete: [] });
  }

  /** The server takes everything that has reached it and answers as of now; when that arrives is up to the network. */
  serve(): void {
    for (const message of this.machine.sent()) {
      if (message.type === "hello") {
        this.#sent = message.resume?.epoch === EPOCH ? message.resume.revision : 0;
        const head = { epoch: EPOCH, revision: this.#revision, mark: markOf(this.#revision) };
        const limits = { maxFrameBytes: 1_048_576, maxBatchItems: 500 };
        this.#toStream({ type: "hello", ...head, heartbeatMs: 5_000, leaseMs: LEASE_MS, outcomesThrough: 0, limits });
        if (this.#sent === 0) this.#toStream({ type: "snapshot", ...head, documents: [] });
        else if (this.#sent < this.#revision) {
          this.#toStream({ type: "delta", from: 5, revision: 6, mark: markOf(6), put: [], delete: [] });
        }
      }
      if (message.type === "lease") this.#toStream({ type: "lease", id: message.id, revision: this.#revision });
    }
    for (const { nonce, cursor } of this.machine.take("poll")) {
      const result = this.#pollAnswer(nonce, cursor);
      this.#pollAnswers.push(result);
      this.wire.push({ nonce, result });
    }
  }

  /** Something arrives. Documents come in their order and once; leases and answers to polls as they like, also again. */
  deliver(index: number, again: boolean): void {
    const chosen = this.wire[index % Math.max(1, this.wire.length)];
    if (chosen === undefined) return;
    const arrived = isDocuments(chosen) ? (this.wire.find(isDocuments) ?? chosen) : chosen;
    if (!again || isDocuments(arrived)) this.wire.splice(this.wire.indexOf(arrived), 1);
    this.machine.input("text" in arrived ? { kind: "frame", ...arrived } : { kind: "polled", ...arrived });
  }

  /** Something on the way answers the poll under way with what it has stored. */
  replay(index: number): void {
    const { poll } = this.machine.state;
    const result = this.#pollAnswers[index % Math.max(1, this.#pollAnswers.length)];
    if (poll.kind === "asking" && result) this.machine.input({ kind: "polled", nonce: poll.nonce, result });
  }

  /** True time passes; the connection notices at the end of it, as after a blocked event loop. */
  pass(ms: number): void {
    this.#trueMs += ms;
    const { monotonicMs, wallMs } = this.machine.now;
    const counts = this.#clocks === "awake" ? ms : 0;
    this.machine.now = { monotonicMs: monotonicMs + counts, wallMs: wallMs + ms };
  }

  jump(ms: number): void {
    if (this.#clocks === "awake") this.machine.now = { ...this.machine.now, wallMs: this.machine.now.wallMs + ms };
  }

  tick(): void {
    const dueMs = (nextTickMs(this.machine.state) ?? 0) - this.machine.now.monotonicMs;
    if (dueMs > 0) {
      this.#trueMs += dueMs;
      this.machine.pass(dueMs);
    }
    this.machine.input({ kind: "tick" });
  }

  /** Whether a read without the change, later than the bound allows, has a live lease: now, or where nothing else happens. */
  get breaksTheBound(): boolean {
    const { now, state } = this.machine;
    if (this.#committedMs === null || (state.cursor?.revision ?? 0) >= 6) return false;
    const untilMs = Math.max(0, this.#committedMs + LEASE_MS + 1 - this.#trueMs);
    const monotonicMs = now.monotonicMs + (this.#clocks === "awake" ? untilMs : 0);
    return isLeaseLive(state.lease, monotonicMs, now.wallMs + untilMs);
  }

  get isLive(): boolean {
    const { now, state } = this.machine;
    return isLeaseLive(state.lease, now.monotonicMs, now.wallMs);
  }

  #toStream(message: unknown): void {
    const text = JSON.stringify(message);
    expect(decodeServerFrame(text).kind).toBe("message");
    this.wire.push({ connection: this.machine.state.connections, text });
  }

  #pollAnswer(nonce: string, cursor: Cursor | null): PollResult {
    const revision = this.#revision;
    return pollAnswer({ status: cursor?.revision === revision ? 304 : 200, revision, nonce, leaseMs: LEASE_MS });
  }
}

function isDocuments(onTheWire: OnTheWire): boolean {
  return "text" in onTheWire && JSON.parse(onTheWire.text).type !== "lease";
}

type Action = (world: World) => void;

const happenings: fc.Arbitrary<Action> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Action>((world) => world.serve()) },
  {
    weight: 5,
    arbitrary: fc.tuple(fc.nat(5), fc.boolean()).map<Action>(
      ([index, again]) =>
        (world) =>
          world.deliver(index, again),
    ),
  },
  { weight: 3, arbitrary: fc.constant<Action>((world) => world.tick()) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(1, 500, 5_000, 14_999, 15_001, 40_000).map<Action>((ms) => (world) => world.pass(ms)),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(-86_400_000, -5_000, 5_000, 86_400_000).map<Action>((ms) => (world) => world.jump(ms)),
  },
  { weight: 1, arbitrary: fc.nat(5).map<Action>((index) => (world) => world.replay(index)) },
  { weight: 1, arbitrary: fc.constant<Action>((world) => world.machine.open()) },
  { weight: 1, arbitrary: fc.constant<Action>((world) => world.exchange()) },
  { weight: 1, arbitrary: fc.constant<Action>((world) => world.machine.ping()) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom({ code: 1006, detail: "cut" }, { httpStatus: 404, detail: "blocked" })
      .map<Action>((end) => (world) => world.machine.end(end)),
  },
  { weight: 1, arbitrary: fc.constant<Action>((world) => world.commit()) },
);

test.each([
  { clocks: "awake", way: "stream" },
  { clocks: "awake", way: "poll" },
  { clocks: "sleeping", way: "stream" },
  { clocks: "sleeping", way: "poll" },
] as const)(
  "no read later than T0 + L without the change has a live lease, and nothing held goes back ($way, $clocks)",
  ({ clocks, way }) => {
    let leases = 0;
    let changes = 0;
    fc.assert(
      fc.property(fc.array(happenings, { maxLength: 80, size: "max" }), fc.constantFrom(0, 0.5), (actions, random) => {
        const world = new World(clocks, way, random);
        let held = 0;
        for (const act of actions) {
          act(world);
          expect(world.breaksTheBound).toBe(false);
          const { cursor } = world.machine.state;
          expect(cursor?.revision).toBeGreaterThanOrEqual(held);
          held = cursor?.revision ?? 0;
          if (world.isLive) leases += 1;
        }
        if (held === 6) changes += 1;
      }),
      { numRuns: 2_000 },
    );
    // The property is about something: leases do live in such histories, and the change does arrive.
    expect(leases).toBeGreaterThan(1_000);
    expect(changes).toBeGreaterThan(100);
  },
);
