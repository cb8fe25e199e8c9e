/**
 * One runtime's socket: says hello, follows the head from its own cursor, answers leases, takes outcomes.
 */
import { isUtf8 } from "node:buffer";
import type { Duplex } from "node:stream";
import {
  CLOSE,
  decodeRuntimeFrame,
  MAX_BATCH_ITEMS,
  MAX_RUNTIME_FRAME_BYTES,
  type Runtime,
  type RuntimeMessage,
  type ServerMessage,
} from "@flagback/schemas";
import type { Logger } from "pino";
import type { WebSocket } from "ws";
import type { Engine } from "../engine/engine.ts";
import type { BatchResult, LedgerBook } from "../ledger/ledger-book.ts";
import type { ReadBatch } from "../ledger/stream-counter.ts";
import type { DropReason } from "../limits.ts";
import type { StoredToken } from "../store/store.ts";
import { readFrames } from "./frame-reader.ts";
import { type Frames, mayUseAlias } from "./frames.ts";
import type { OutcomeFrames } from "./outcome-frames.ts";
import type { PropagationTracker } from "./propagation.ts";
import { PING_FRAME, textFrame } from "./text-frame.ts";
import { takeTurns } from "./turns.ts";

/**
 * A socket with more waiting than this gets nothing more until its peer has read; without progress for a heartbeat it is
 * closed, and resumes. So memory is bounded by this, one snapshot and one delta for each runtime.
 */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** Items that were not counted and whose runtime is still to be told so; those beyond are rejected without a word. */
const MAX_UNTOLD_REJECTIONS = 1_000;
/** A peer that does not answer our close is cut off after this. */
const CLOSE_PATIENCE_MS = 500;
/** RFC 6455, section 7.4.1: the server met a condition that kept it from fulfilling the request. */
const INTERNAL_ERROR = 1011;
/** The same: a text frame that is not UTF-8. */
const INVALID_TEXT = 1007;
/** A runtime whose counts there is no room for comes back after this, with its leases and the same batch. */
const FULL_PAUSE = { retryAfterMs: 1_000, spreadMs: 4_000 };
/** Pings that may stay unanswered before a socket counts as dead. */
const MISSED_HEARTBEATS = 2;
/** What a binary frame is read as: it has no place in the protocol. */
const NO_TEXT = Buffer.alloc(0);

/** What a session needs of whoever holds it. */
export interface SessionHost {
  readonly engine: Engine;
  readonly book: LedgerBook;
  readonly frames: Frames;
  readonly outcomeFrames: OutcomeFrames;
  readonly propagation: PropagationTracker;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly log: Logger;
  readonly monotonicMs: () => number;
  /** The session said hello. Answers the instance's last durable batch. */
  join(session: Session, instance: string): number;
  closed(session: Session, code: number): void;
  countBatch(session: Session, instance: string, batch: ReadBatch): BatchResult;
  observeApplied(ms: number): void;
  leaseGranted(): void;
  /** A limit cost something. */
  dropped(reason: DropReason): void;
}

type MessageOf<Type extends RuntimeMessage["type"]> = Extract<RuntimeMessage, { type: Type }>;

export class Session {
  readonly token: StoredToken;
  readonly #host: SessionHost;
  readonly #socket: WebSocket;
  readonly #wire: Duplex;
  readonly #connectedAt: string;
  #instance: string | undefined;
  #sdk = "";
  /** Revision that the runtime was last sent. */
  #cursor = -1;
  #appliedRevision: number | null = null;
  #lastAppliedMs: number | null = null;
  #leaseUntilMs = Number.NEGATIVE_INFINITY;
  #unansweredPings = 0;
  /** Whether the token may speak of an alias. */
  readonly mayReport = (alias: string): boolean => mayUseAlias(this.token.aliases, alias);
  #isClosing = false;
  /** What waited at the last heartbeat. */
  #bufferedBefore = 0;
  #durableThrough = -1;
  #rejected: { seq: number; index: number; code: string; message: string }[] = [];
  #ackedThrough = -1;

  /** `wire` is what `socket` writes to. */
  constructor(host: SessionHost, socket: WebSocket, wire: Duplex, token: StoredToken, connectedAt: string) {
    this.#host = host;
    this.#socket = socket;
    this.#wire = wire;
    this.#connectedAt = connectedAt;
    this.token = token;
    // `ws` hands over one Buffer for each message, unless it is told otherwise.
    socket.on("message", (data, isBinary) => {
      const bytes = isBinary ? NO_TEXT : (data as Buffer);
      this.#takeFrame(bytes, 0, bytes.length);
    });
    readFrames(wire, MAX_RUNTIME_FRAME_BYTES, (bytes, start, end) => this.#takeFrame(bytes, start, end));
    takeTurns(wire, () => this.#host.monotonicMs());
    socket.on("pong", () => {
      this.#unansweredPings = 0;
    });
    socket.on("error", (error) =>
      this.#host.log.debug({ instance: this.#instance, error: error.message }, "socket error"),
    );
    socket.on("close", (code) => this.#host.closed(this, code));
  }

  /** Undefined until the runtime said hello. */
  get instance(): string | undefined {
    return this.#instance;
  }

  get sdk(): string {
    return this.#sdk;
  }

  get leaseUntilMs(): number {
    return this.#leaseUntilMs;
  }

  get appliedRevision(): number | null {
    return this.#appliedRevision;
  }

  /** The runtime holds a lease that it got another way: from its last stream, or by polling. */
  leaseRunsUntil(untilMs: number): void {
    this.#leaseUntilMs = Math.max(this.#leaseUntilMs, untilMs);
  }

  describe(): Runtime {
    return {
      instance: this.#instance ?? "",
      sdk: this.#sdk,
      tokenName: this.token.name,
      connectedAt: this.#connectedAt,
      appliedRevision: this.#appliedRevision,
      lastAppliedMs: this.#lastAppliedMs,
      leaseLive: this.#leaseUntilMs > this.#host.monotonicMs(),
    };
  }

  /** Sends what the runtime has missed, if anything. Cheap where it has missed nothing. */
  catchUp(): void {
    const { head } = this.#host.engine.history;
    if (this.#instance === undefined || this.#cursor >= head.revision) return;
    if (this.#sendFrame(this.#host.frames.since(this.#cursor, this.token.aliases))) this.#cursor = head.revision;
  }

  /** Acknowledges every batch up to and including `through`; they are durable. `slowDownMs` asks for a pause before the next. */
  acknowledge(through: number, slowDownMs = 0): void {
    this.#durableThrough = Math.max(this.#durableThrough, through);
    if (through <= this.#ackedThrough) return;
    const rejected = this.#rejected.length === 0 ? [] : this.#rejected.filter((each) => each.seq <= through);
    const ack: ServerMessage = {
      type: "outcomesAck",
      through,
      ...(slowDownMs > 0 ? { slowDownMs } : {}),
      ...(rejected.length > 0 ? { rejected } : {}),
    };
    if (!this.send(ack)) return;
    this.#ackedThrough = through;
    if (rejected.length > 0) this.#rejected = this.#rejected.filter((each) => each.seq > through);
  }

  /** Called every heartbeat. A peer that missed two is gone: its socket ends without a goodbye. */
  heartbeat(): "alive" | "dead" {
    if (this.#unansweredPings >= MISSED_HEARTBEATS) {
      this.#socket.terminate();
      return "dead";
    }
    const { writableLength } = this.#wire;
    if (writableLength > MAX_BUFFERED_BYTES && writableLength >= this.#bufferedBefore && this.#bufferedBefore > 0) {
      this.#host.dropped("slow_reader");
      this.close(CLOSE.slowReader, "the runtime does not read");
      return "alive";
    }
    this.#bufferedBefore = writableLength;
    // What had to wait for the peer to read.
    this.catchUp();
    this.acknowledge(this.#durableThrough);
    this.#unansweredPings += 1;
    this.#sendFrame(PING_FRAME);
    return "alive";
  }

  /** Answers whether it was sent: to a peer that does not read, nothing is. */
  send(message: ServerMessage): boolean {
    return this.#sendFrame(textFrame(JSON.stringify(message)));
  }

  /** Takes no frame from here on, and does not wait long for the peer to agree. */
  close(code: number, reason: string): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#socket.close(code, reason);
    setTimeout(() => this.#socket.terminate(), CLOSE_PATIENCE_MS).unref();
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /**
   * Writes a frame, which other sessions may share. Beside `ws`, which would write it in two pieces: without compression
   * `ws` writes each of its own frames at once and whole, so that the two never mix.
   */
  #sendFrame(frame: Buffer): boolean {
    const wire = this.#wire;
    if (this.#isClosing || !wire.writable || wire.writableLength > MAX_BUFFERED_BYTES) return false;
    wire.write(frame);
    return true;
  }

  /** Whatever a frame does costs its socket at most. */
  #takeFrame(bytes: Buffer, start: number, end: number): void {
    if (this.#isClosing) return;
    try {
      this.#receive(bytes, start, end);
    } catch (error) {
      this.#host.log.error({ err: error, instance: this.#instance }, "a frame could not be handled");
      // With a code, so that the runtime can tell its frame from a network that broke, and does not send it for ever.
      this.close(INTERNAL_ERROR, "internal error");
    }
  }

  #receive(bytes: Buffer, start: number, end: number): void {
    const batch = this.#instance === undefined ? undefined : this.#host.outcomeFrames.read(bytes, start, end);
    if (batch && this.#instance !== undefined) return this.#outcomes(this.#instance, batch);
    const text = bytes.subarray(start, end);
    if (!isUtf8(text)) return this.#refuse(INVALID_TEXT, "malformed_frame", "text that is not UTF-8");
    const decoded = decodeRuntimeFrame(text.toString());
    switch (decoded.kind) {
      case "unknown_type":
        return;
      case "malformed":
        this.#refuse(CLOSE.malformed, "malformed_frame", decoded.problem);
        return;
      case "message":
        this.#handle(decoded.message);
    }
  }

  #handle(message: RuntimeMessage): void {
    if (message.type === "hello") return this.#hello(message);
    if (this.#instance === undefined)
      return this.#refuse(CLOSE.malformed, "malformed_frame", "the first frame must be a hello");
    switch (message.type) {
      case "lease":
        return this.#lease(message.id);
      case "applied":
        return this.#applied(this.#instance, message.revision);
      case "outcomes":
        return this.#outcomes(this.#instance, message);
      case "goodbye":
        return this.close(1000, "goodbye");
    }
  }

  #hello(message: MessageOf<"hello">): void {
    if (this.#instance !== undefined) return this.#refuse(CLOSE.malformed, "malformed_frame", "a second hello");
    const { history } = this.#host.engine;
    if (this.#host.book.belongsToOther(message.instance, this.token.id)) {
      return this.#refuse(CLOSE.unauthorized, "forbidden", "this instance belongs to another token");
    }
    this.#instance = message.instance;
    this.#sdk = message.sdk;
    const outcomesThrough = this.#host.join(this, message.instance);
    this.#ackedThrough = outcomesThrough;
    this.#durableThrough = outcomesThrough;
    const { head, epoch } = history;
    this.send({
      type: "hello",
      epoch,
      revision: head.revision,
      mark: head.mark,
      heartbeatMs: this.#host.heartbeatMs,
      leaseMs: this.#host.leaseMs,
      outcomesThrough,
      limits: { maxFrameBytes: MAX_RUNTIME_FRAME_BYTES, maxBatchItems: MAX_BATCH_ITEMS },
    });
    if (message.resume && history.canResume(message.resume)) {
      this.#cursor = message.resume.revision;
      // What it resumes from it has applied, also where the acknowledgement was lost with the socket.
      this.#applied(message.instance, message.resume.revision);
      this.catchUp();
    } else if (this.#sendFrame(this.#host.frames.snapshot(this.token.aliases))) this.#cursor = head.revision;
  }

  #lease(id: number): void {
    // The runtime counts an answer only once it has applied the revision in it, so what it has missed goes first.
    this.catchUp();
    if (!this.send({ type: "lease", id, revision: this.#host.engine.history.head.revision })) return;
    this.#leaseUntilMs = this.#host.monotonicMs() + this.#host.leaseMs;
    this.#host.leaseGranted();
  }

  #applied(instance: string, revision: number): void {
    // A runtime can't have applied what it was not sent.
    if (revision > this.#cursor)
      return this.#refuse(CLOSE.malformed, "malformed_frame", `applied ${revision} before it was sent`);
    this.#appliedRevision = Math.max(this.#appliedRevision ?? 0, revision);
    const ms = this.#host.propagation.applied(instance, this.#sdk, revision);
    if (ms !== undefined) {
      this.#lastAppliedMs = ms;
      this.#host.observeApplied(ms);
    }
  }

  #outcomes(instance: string, batch: ReadBatch): void {
    const result = this.#host.countBatch(this, instance, batch);
    switch (result.kind) {
      case "gap":
        return this.#refuse(
          CLOSE.sequenceGap,
          "malformed_frame",
          `batch ${batch.seq} came, ${result.expected} was due`,
        );
      case "full":
        this.#host.dropped("unwritten_outcomes");
        this.send({ type: "goodbye", reason: "counts can't be made durable", ...FULL_PAUSE });
        return this.close(CLOSE.goodbye, "counts can't be made durable");
      case "repeated":
        return this.acknowledge(this.#host.book.durableThrough(instance));
      case "counted":
        for (const rejection of result.rejected) {
          if (this.#rejected.length >= MAX_UNTOLD_REJECTIONS) break;
          this.#rejected.push({ seq: batch.seq, ...rejection });
        }
    }
  }

  #refuse(code: number, errorCode: string, problem: string): void {
    this.#host.log.warn({ instance: this.#instance, token: this.token.name, problem }, "closed a stream");
    this.send({ type: "error", code: errorCode, message: problem });
    // A close frame holds 123 bytes at most; the error above says the rest.
    this.close(code, errorCode);
  }
}
