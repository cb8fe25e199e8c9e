/**
 * Drives the connection's state machine by hand: a clock that only we move, and frames as a server would send them.
 */
import type { RuntimeMessage, ServerMessage } from "@flagback/schemas";
import type { Instant } from "../../provider/src/clock.ts";
import { nextTickMs } from "../../provider/src/connection/link-times.ts";
import { initialState, step } from "../../provider/src/connection/machine.ts";
import type {
  ConnectionEffect,
  ConnectionInput,
  ConnectionState,
  PollResult,
  SocketEnd,
} from "../../provider/src/connection/state.ts";

export const EPOCH = "e".repeat(32);
export const OTHER_EPOCH = "f".repeat(32);
export const markOf = (revision: number) => revision.toString(16).padStart(16, "0");

type Kind = ConnectionEffect["kind"];
type EffectOf<K extends Kind> = Extract<ConnectionEffect, { kind: K }>;

export class MachineDriver {
  state: ConnectionState;
  now: Instant = { monotonicMs: 1_000, wallMs: 1_700_000_000_000 };
  random = 1;
  readonly effects: ConnectionEffect[] = [];

  constructor(errorGraceMs = 10_000) {
    this.state = initialState({ instance: "a".repeat(32), sdk: "test", pollNonce: "n", errorGraceMs });
  }

  input(input: ConnectionInput): void {
    const next = step(this.state, input, this.now, () => this.random);
    this.state = next.state;
    this.effects.push(...next.effects);
  }

  /** Takes what was asked for since the last take. */
  take<K extends Kind>(kind: K): EffectOf<K>[] {
    const taken = this.effects.filter((effect): effect is EffectOf<K> => effect.kind === kind);
    const rest = this.effects.filter((effect) => effect.kind !== kind);
    this.effects.splice(0, this.effects.length, ...rest);
    return taken;
  }

  sent(): RuntimeMessage[] {
    return this.take("send").map((effect) => effect.message);
  }

  statuses(): string[] {
    return this.take("status").map((effect) => effect.status);
  }

  receive(message: ServerMessage): void {
    this.frame(JSON.stringify(message));
  }

  frame(text: string): void {
    this.input({ kind: "frame", connection: this.state.connections, text });
  }

  ping(): void {
    this.input({ kind: "ping", connection: this.state.connections });
  }

  end(end: SocketEnd = { code: 1006, detail: "cut" }): void {
    this.input({ kind: "ended", connection: this.state.connections, end });
  }

  /** Lets time pass on both clocks without anybody noticing. */
  pass(ms: number): void {
    this.now = { monotonicMs: this.now.monotonicMs + ms, wallMs: this.now.wallMs + ms };
  }

  /** Lets time pass as the connection would see it: a tick whenever one is due. */
  run(ms: number): void {
    const untilMs = this.now.monotonicMs + ms;
    for (let due = nextTickMs(this.state); due !== null && due <= untilMs; due = nextTickMs(this.state)) {
      this.pass(Math.max(0, due - this.now.monotonicMs));
      this.input({ kind: "tick" });
    }
    this.pass(untilMs - this.now.monotonicMs);
  }

  open(): void {
    this.input({ kind: "opened", connection: this.state.connections });
  }

  hello(over: Partial<Extract<ServerMessage, { type: "hello" }>> = {}): void {
    const revision = over.revision ?? 5;
    this.receive({
      type: "hello",
      epoch: EPOCH,
      revision,
      mark: markOf(revision),
      heartbeatMs: 5_000,
      leaseMs: 15_000,
      outcomesThrough: 0,
      limits: { maxFrameBytes: 1_048_576, maxBatchItems: 500 },
      ...over,
    });
  }

  snapshot(revision = 5, epoch = EPOCH): void {
    this.receive({ type: "snapshot", epoch, revision, mark: markOf(revision), documents: [] });
  }

  delta(from: number, revision: number): void {
    this.receive({ type: "delta", from, revision, mark: markOf(revision), put: [], delete: [] });
  }

  /** Grants the last lease that was asked for. */
  grant(revision = 5): void {
    this.receive({ type: "lease", id: this.state.leaseIds, revision });
  }

  /** Lets time pass until the next poll goes out, and answers its nonce. */
  untilPolled(maxMs = 60_000): string {
    const untilMs = this.now.monotonicMs + maxMs;
    while (this.state.poll.kind !== "asking") {
      const due = nextTickMs(this.state);
      if (due === null || due > untilMs) throw new Error(`no poll within ${maxMs} ms`);
      this.pass(Math.max(0, due - this.now.monotonicMs));
      this.input({ kind: "tick" });
    }
    return this.state.poll.nonce;
  }

  /** What the poll path answers to the request under way; `null` leaves a header out. */
  answerPoll(over: PollAnswerParts = {}): void {
    if (this.state.poll.kind !== "asking") throw new Error("nobody asks");
    const { nonce } = this.state.poll;
    this.input({ kind: "polled", nonce, result: pollAnswer({ nonce, ...over }) });
  }

  /** From nothing to READY. */
  becomeReady(): void {
    this.input({ kind: "start" });
    this.open();
    this.hello();
    this.snapshot();
    this.grant();
    this.effects.length = 0;
  }
}

interface PollAnswerParts {
  readonly status?: number;
  readonly epoch?: string;
  readonly revision?: number;
  readonly mark?: string;
  readonly leaseMs?: number;
  readonly nonce?: string;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly text?: string;
}

/** An answer as `GET /v1/snapshot` gives it: 304 for a held revision, else 200 with a snapshot. */
export function pollAnswer({
  status = 200,
  epoch = EPOCH,
  revision = 5,
  mark = markOf(revision),
  leaseMs = 15_000,
  nonce,
  headers,
  text,
}: PollAnswerParts): PollResult {
  const body = { type: "snapshot", epoch, revision, mark, documents: [] };
  return {
    kind: "response",
    status,
    headers: {
      "content-type": "application/json",
      "flagback-epoch": epoch,
      "flagback-revision": String(revision),
      "flagback-mark": mark,
      "flagback-lease-ms": String(leaseMs),
      "flagback-lease": nonce,
      ...headers,
    },
    text: text ?? (status === 200 ? JSON.stringify(body) : ""),
  };
}
