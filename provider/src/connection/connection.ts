/**
 * The state machine's hands: it holds the state, one timer, one socket and one request, and does what the machine asks for.
 */
import { CLOSE, type Cursor, type Delta, type RuntimeMessage, type Snapshot } from "@flagback/schemas";
import { type Clock, instantOf } from "../clock.ts";
import type { ProblemLog } from "../logger.ts";
import type { Outbox } from "../outcomes/outbox.ts";
import { describeThrown } from "../thrown.ts";
import { LeaseEnd } from "./lease.ts";
import { nextTickMs } from "./link-times.ts";
import { initialState, step } from "./machine.ts";
import { Poller } from "./poll-request.ts";
import { openSocket, type StreamSocket } from "./socket.ts";
import type {
  ConnectionEffect,
  ConnectionInput,
  ConnectionSettings,
  ConnectionState,
  Restored,
  Status,
} from "./state.ts";
import { isStreamInStep } from "./status.ts";

/** What the connection needs from the provider that owns it. */
export interface ConnectionHost {
  /** Swaps what evaluations read. Must not run anybody else's code: the acknowledgement follows. */
  swap(change: Snapshot | Delta): void;
  /** After the acknowledgement: tell whoever wants to know. */
  swapped(): void;
  status(status: Status, detail: string): void;
  /** The server refused the token. */
  refused(httpStatus: number): void;
  /** The server acknowledged outcomes. */
  acknowledged(): void;
}

export interface ConnectionOptions {
  readonly streamUrl: string;
  readonly snapshotUrl: string;
  readonly token: string;
  readonly settings: ConnectionSettings;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: ProblemLog;
  readonly outbox: Outbox;
  readonly host: ConnectionHost;
}

/** Close codes that a frame of ours can be to blame for (RFC 6455, section 7.4.1, and ours). */
const BLAMED_CLOSES: ReadonlySet<number | undefined> = new Set([1002, 1003, 1007, 1008, 1009, 1011, CLOSE.malformed]);
/** The longest time that a timer of Node holds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #clock: Clock;
  #state: ConnectionState;
  /** The state's lease, as evaluations ask for it. */
  readonly #leaseEnd = new LeaseEnd();
  readonly #poller: Poller;
  #socket: StreamSocket | null = null;
  #timer: NodeJS.Timeout | null = null;
  readonly #inputs: ConnectionInput[] = [];
  #isRunning = false;
  #isFlushing = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#state = initialState(options.settings);
    const { snapshotUrl, token, settings } = options;
    this.#poller = new Poller({ snapshotUrl, token, instance: settings.instance, sdk: settings.sdk });
  }

  get status(): Status {
    return this.#state.status;
  }

  /** Whether the lease is live, or lapsed less than `graceMs` ago, by both clocks as of now. */
  isLeaseLive(graceMs = 0): boolean {
    return this.#leaseEnd.isAhead(this.#clock, graceMs);
  }

  /** What we hold; null before the first snapshot. */
  get cursor(): Cursor | null {
    return this.#state.cursor;
  }

  /** `restored` is what another process held before us. */
  start(restored?: Restored): void {
    this.#isFlushing = false;
    this.#take({ kind: "start", ...(restored && { restored }) });
  }

  /** Whoever waits to be ready won't wait longer: what we hold, if anything, must do. */
  overdue(): void {
    this.#take({ kind: "overdue" });
  }

  /** Says goodbye and hangs up. No timer and no socket is left. */
  stop(): void {
    this.#take({ kind: "stop" });
    this.#poller.close();
  }

  /** Sends what the outbox has due, and wakes up when more is. Called whenever something was put into it. */
  pump(): void {
    this.#sendOutcomes();
    this.#wakeUp();
  }

  /** From now on outcomes are sent at once: the provider is closing. */
  flush(): void {
    this.#isFlushing = true;
    this.pump();
  }

  /** Inputs that an effect causes wait for their turn, so that each step sees the state that the last one left. */
  #take(input: ConnectionInput): void {
    this.#inputs.push(input);
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let next = this.#inputs.shift(); next; next = this.#inputs.shift()) {
        try {
          const { state, effects } = step(this.#state, next, instantOf(this.#options.clock), this.#options.random);
          const isBack = isStreamInStep(state) && !isStreamInStep(this.#state);
          if (state.lease !== this.#state.lease) this.#leaseEnd.set(state.lease);
          this.#state = state;
          // Only now: a provider that is ready by polling meets the stream's old problem at each attempt.
          if (isBack) for (const topic of ["connection", "poll"]) this.#options.log.resolved(topic);
          for (const effect of effects) this.#perform(effect);
        } catch (error) {
          this.#failed(next, error);
        }
      }
    } finally {
      this.#isRunning = false;
    }
    this.pump();
  }

  /** Never into the agent. The rest of the step is left out: what failed to be swapped is not acknowledged. */
  #failed(input: ConnectionInput, error: unknown): void {
    const detail = `internal error: ${describeThrown(error)}`;
    this.#options.log.error(`internal.${input.kind}`, `the stream's ${input.kind} could not be handled (${detail})`);
    // A step that fails while it gives up would fail for ever.
    if (input.kind !== "failed") this.#inputs.push({ kind: "failed", detail });
  }

  #perform(effect: ConnectionEffect): void {
    const { host, log, outbox, clock } = this.#options;
    switch (effect.kind) {
      case "connect":
        this.#connect(effect.connection);
        return;
      case "send":
        this.#send(effect.message);
        return;
      case "poll":
        this.#poller.ask(effect, (result) => this.#take({ kind: "polled", nonce: effect.nonce, result }));
        return;
      case "abandonPoll":
        this.#poller.abandon();
        return;
      case "hangUp":
        this.#hangUp(effect.code, effect.reason);
        return;
      case "swap":
        host.swap(effect.change);
        return;
      case "acknowledge": {
        const appliedAfterMs = Math.max(0, clock.monotonicMs() - effect.receivedMs);
        this.#send({ type: "applied", revision: effect.revision, appliedAfterMs });
        host.swapped();
        return;
      }
      case "status":
        if (effect.status === "ready") log.resolved("token");
        host.status(effect.status, effect.detail);
        return;
      case "resumeOutcomes":
        outbox.resume(effect.through, effect.limits);
        host.acknowledged();
        return;
      case "ackOutcomes": {
        const { through, rejected = [], slowDownMs = 0 } = effect.ack;
        outbox.acknowledge(through, rejected.length, slowDownMs, clock.monotonicMs());
        for (const { code, message } of rejected) {
          log.warn(`rejected.${code}`, `the server did not count an outcome (${code}): ${message}`);
        }
        host.acknowledged();
        return;
      }
      case "holdOutcomes":
        this.#socket = null;
        outbox.hold(BLAMED_CLOSES.has(effect.end.code));
        return;
      case "refused":
        host.refused(effect.httpStatus);
        return;
      case "problem":
        log[effect.level](effect.key, effect.message);
        return;
    }
  }

  #connect(connection: number): void {
    const { streamUrl, token } = this.#options;
    this.#socket = openSocket(streamUrl, token, {
      opened: () => this.#take({ kind: "opened", connection }),
      frame: (text) => this.#take({ kind: "frame", connection, text }),
      ping: () => this.#take({ kind: "ping", connection }),
      ended: (end) => this.#take({ kind: "ended", connection, end }),
    });
  }

  #send(message: RuntimeMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }

  #hangUp(code: number, reason: string): void {
    if (code === CLOSE.deadPeer) this.#socket?.terminate();
    else this.#socket?.close(code, reason);
    this.#socket = null;
  }

  #sendOutcomes(): void {
    const { outbox, clock } = this.#options;
    if (this.#state.link.kind !== "streaming") return;
    for (;;) {
      const frame = outbox.next(clock.monotonicMs(), this.#isFlushing);
      if (frame === null) return;
      this.#socket?.send(frame);
    }
  }

  #wakeUp(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#state.link.kind === "idle") return;
    const dues = [nextTickMs(this.#state), this.#options.outbox.nextDueMs()].filter((due) => due !== null);
    if (dues.length === 0) return;
    const delayMs = Math.ceil(Math.min(...dues) - this.#options.clock.monotonicMs());
    this.#timer = setTimeout(() => this.#take({ kind: "tick" }), Math.min(MAX_TIMER_MS, Math.max(0, delayMs)));
    this.#timer.unref();
  }
}
