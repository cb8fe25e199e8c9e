/**
 * Every connected runtime: admits sockets, rings the doorbell when the head advances, keeps heartbeats and leases.
 */
import type { Duplex } from "node:stream";
import { CLOSE, type Cursor, type OutcomeBatch, type Runtime } from "@flagback/schemas";
import type { Logger } from "pino";
import type { WebSocket } from "ws";
import type { Engine } from "../engine/engine.ts";
import type { BatchResult, LedgerBook } from "../ledger/ledger-book.ts";
import { slowDownFor } from "../ledger/overload.ts";
import type { ReadBatch } from "../ledger/stream-counter.ts";
import { DEFAULT_DOOR_LIMITS, type DropReason } from "../limits.ts";
import type { LedgerWrites } from "../store/ledger-writes.ts";
import type { StoredToken } from "../store/store.ts";
import { DetachedRuntimes } from "./detached-runtimes.ts";
import { Frames } from "./frames.ts";
import { OutcomeFrames } from "./outcome-frames.ts";
import { type EndedSpread, PropagationTracker } from "./propagation.ts";
import { Rounds } from "./rounds.ts";
import { Session, type SessionHost } from "./session.ts";

const DEFAULT_HEARTBEAT_MS = 5_000;
export const DEFAULT_LEASE_MS = 15_000;
/** Runtimes told goodbye come back within this spread, longer where they are many. */
const GOODBYE_SPREAD_MS = 1_000;
const GOODBYE_SPREAD_PER_RUNTIME_MS = 1;

export interface HubEvents {
  /** A batch was counted, all but the items that are rejected. */
  readonly counted: (result: Extract<BatchResult, { kind: "counted" }>, batch: OutcomeBatch) => void;
  readonly appliedAfter: (ms: number) => void;
  /** A change has reached whom it could, or is too old to be followed. */
  readonly spreadEnded: (spread: EndedSpread) => void;
  readonly lease: (event: "granted" | "lapsed") => void;
  readonly dropped: (reason: DropReason) => void;
  /** Runtimes were asked to report more slowly. */
  readonly slowedDown: () => void;
}

export class Hub implements SessionHost {
  readonly engine: Engine;
  readonly book: LedgerBook;
  readonly frames: Frames;
  readonly outcomeFrames = new OutcomeFrames();
  readonly propagation: PropagationTracker;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly log: Logger;
  readonly monotonicMs: () => number;
  readonly #now: () => number;
  readonly #events: HubEvents;
  readonly #helloTimeoutMs: number;
  readonly #sessions: Rounds<Session>;
  /** Those who have not said hello, and what ends their time. */
  readonly #silent = new Map<Session, NodeJS.Timeout>();
  readonly #byInstance = new Map<string, Session>();
  readonly #detached: DetachedRuntimes;
  readonly #heartbeat: NodeJS.Timeout;
  #doorbell: NodeJS.Immediate | undefined;
  #isClosed = false;

  constructor(parts: {
    readonly engine: Engine;
    readonly book: LedgerBook;
    readonly log: Logger;
    readonly monotonicMs: () => number;
    readonly now: () => number;
    readonly events: HubEvents;
    readonly heartbeatMs?: number;
    readonly leaseMs?: number;
    /** A socket that has not said hello by then is closed. */
    readonly helloTimeoutMs?: number;
  }) {
    this.engine = parts.engine;
    this.book = parts.book;
    this.log = parts.log;
    this.monotonicMs = parts.monotonicMs;
    this.#now = parts.now;
    this.#events = parts.events;
    this.heartbeatMs = parts.heartbeatMs ?? DEFAULT_HEARTBEAT_MS;
    this.leaseMs = parts.leaseMs ?? DEFAULT_LEASE_MS;
    this.#helloTimeoutMs = parts.helloTimeoutMs ?? DEFAULT_DOOR_LIMITS.helloTimeoutMs;
    this.frames = new Frames(parts.engine);
    this.propagation = new PropagationTracker(parts.monotonicMs, parts.events.spreadEnded);
    this.#detached = new DetachedRuntimes({
      monotonicMs: parts.monotonicMs,
      lapsed: (instance) => {
        this.#events.lease("lapsed");
        this.propagation.lapsed(instance);
      },
      dropped: (reason) => this.dropped(reason),
    });
    this.#sessions = new Rounds(this.heartbeatMs, parts.monotonicMs());
    this.#heartbeat = setInterval(() => this.#pingDue(), this.#sessions.stepMs);
    this.#heartbeat.unref();
    parts.engine.listen({
      committed: ({ history }) => {
        if (history) this.#headAdvanced(history.revision);
      },
      durable: (writes, waitedMs) => this.#acknowledge(writes, waitedMs),
    });
  }

  /** Sockets held, also of those who have not said hello yet. */
  get size(): number {
    return this.#sessions.size;
  }

  get isClosing(): boolean {
    return this.#isClosed;
  }

  /** Takes over a socket, which writes to `wire`, and whose token was checked already. */
  admit(socket: WebSocket, wire: Duplex, token: StoredToken): void {
    const session = new Session(this, socket, wire, token, new Date(this.#now()).toISOString());
    this.#sessions.add(session);
    const timer = setTimeout(() => {
      this.dropped("no_hello");
      session.close(CLOSE.malformed, "no hello");
    }, this.#helloTimeoutMs);
    this.#silent.set(session, timer.unref());
  }

  /** A session said hello. A new socket of an instance closes the old one. Answers the instance's last durable batch. */
  join(session: Session, instance: string): number {
    this.#spoke(session);
    const before = this.#byInstance.get(instance);
    this.#byInstance.set(instance, session);
    before?.close(CLOSE.replaced, "a newer socket of this instance took over");
    session.leaseRunsUntil(this.#detached.attached(instance));
    return this.book.connected(instance, session.token.id);
  }

  /** A session's socket has closed. */
  closed(session: Session, code: number): void {
    this.#sessions.delete(session);
    this.#spoke(session);
    const { instance } = session;
    if (instance === undefined || this.#byInstance.get(instance) !== session) return;
    this.#byInstance.delete(instance);
    this.book.disconnected(instance);
    this.log.info({ instance, code }, "runtime disconnected");
    this.#detached.cutOff(instance, session.leaseUntilMs);
  }

  /** A runtime polls, has applied the cursor where that is one of our history, and is given a lease. */
  polled(token: StoredToken, instance: string, sdk: string, cursor: Cursor | undefined): void {
    const revision = cursor && this.engine.history.canResume(cursor) ? cursor.revision : null;
    const appliedMs = revision === null ? undefined : this.propagation.applied(instance, sdk, revision);
    if (appliedMs !== undefined) this.observeApplied(appliedMs);
    const leaseUntilMs = this.monotonicMs() + this.leaseMs;
    this.leaseGranted();
    const session = this.#byInstance.get(instance);
    // A stream that we believe in and the runtime has given up.
    if (session) return session.leaseRunsUntil(leaseUntilMs);
    const connectedAt = new Date(this.#now()).toISOString();
    const lastAppliedMs = appliedMs ?? null;
    this.#detached.polled(
      {
        instance,
        sdk,
        tokenName: token.name,
        connectedAt,
        appliedRevision: revision,
        lastAppliedMs,
        leaseLive: true,
        path: "poll",
      },
      leaseUntilMs,
      token.aliases,
    );
  }

  countBatch(session: Session, instance: string, batch: ReadBatch): BatchResult {
    const result = this.book.countBatch(instance, batch, session.mayReport);
    if (result.kind === "counted") this.#events.counted(result, batch);
    return result;
  }

  observeApplied(ms: number): void {
    this.#events.appliedAfter(ms);
  }

  leaseGranted(): void {
    this.#events.lease("granted");
  }

  dropped(reason: DropReason): void {
    this.#events.dropped(reason);
  }

  /** Those that stream and those that poll. */
  runtimes(): Runtime[] {
    return [...[...this.#byInstance.values()].map((session) => session.describe()), ...this.#detached.polling()];
  }

  /** Whether each of them has applied the revision, or a later one. */
  haveApplied(revision: number): boolean {
    const hasApplied = ({ appliedRevision }: Pick<Runtime, "appliedRevision">) =>
      appliedRevision !== null && appliedRevision >= revision;
    return [...this.#byInstance.values()].every(hasApplied) && this.#detached.polling().every(hasApplied);
  }

  /** Those of them whose token lets them see the alias. */
  runtimesOf(alias: string): Runtime[] {
    const streaming = [...this.#byInstance.values()].filter((session) => session.mayReport(alias));
    return [...streaming.map((session) => session.describe()), ...this.#detached.polling(alias)];
  }

  /** How many runtimes there are, by how they hold their lease; `cut_off` have it still and no connection. */
  countRuntimes(): Record<"streaming" | "polling" | "without_lease" | "cut_off", number> {
    const nowMs = this.monotonicMs();
    const sessions = [...this.#byInstance.values()];
    const streaming = sessions.filter(({ leaseUntilMs }) => leaseUntilMs > nowMs).length;
    const { polling, cutOff } = this.#detached.count();
    return { streaming, polling, without_lease: sessions.length - streaming, cut_off: cutOff };
  }

  /** Closes the sockets of a revoked token. */
  revoke(tokenId: string): void {
    for (const session of this.#sessions) {
      if (session.token.id === tokenId) session.close(CLOSE.unauthorized, "the token was revoked");
    }
  }

  /** Says goodbye, waits at most `deadlineMs` for the peers to go, and ends. Safe twice. */
  async close(deadlineMs: number): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#heartbeat);
    clearImmediate(this.#doorbell);
    const spreadMs = GOODBYE_SPREAD_MS + GOODBYE_SPREAD_PER_RUNTIME_MS * this.#sessions.size;
    for (const session of this.#sessions) {
      session.catchUp();
      session.send({ type: "goodbye", reason: "the server is stopping", retryAfterMs: 0, spreadMs });
      session.close(CLOSE.goodbye, "the server is stopping");
    }
    const deadline = this.monotonicMs() + deadlineMs;
    while (this.#sessions.size > 0 && this.monotonicMs() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 5));
    for (const session of this.#sessions) session.terminate();
    this.#detached.close();
  }

  #spoke(session: Session): void {
    clearTimeout(this.#silent.get(session));
    this.#silent.delete(session);
  }

  #headAdvanced(revision: number): void {
    this.propagation.committed(revision, [
      ...this.#byInstance.keys(),
      ...this.#detached.polling().map((runtime) => runtime.instance),
    ]);
    // One ring for all changes of this turn of the event loop: a slow reader coalesces for free.
    this.#doorbell ??= setImmediate(() => {
      this.#doorbell = undefined;
      for (const session of this.#sessions) session.catchUp();
    });
  }

  /** Once for each instance, whatever number of its batches became durable. */
  #acknowledge({ instances }: LedgerWrites, waitedMs: number): void {
    const slowDownMs = slowDownFor(waitedMs);
    if (slowDownMs > 0 && instances.length > 0) this.#events.slowedDown();
    for (const { instance, through } of instances) this.#byInstance.get(instance)?.acknowledge(through, slowDownMs);
  }

  #pingDue(): void {
    for (const session of this.#sessions.due(this.monotonicMs())) {
      // A host that vanished in silence is no evidence against a version, unlike a process whose socket was closed.
      const isCurrent = session.instance !== undefined && this.#byInstance.get(session.instance) === session;
      if (session.heartbeat() === "dead" && isCurrent && session.instance) this.book.died(session.instance);
    }
  }
}
