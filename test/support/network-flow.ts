/**
 * One direction of a proxied connection: bytes and the end of the stream, in order, each when its time has come.
 */
import type { Socket } from "node:net";

type Item = Buffer | "end" | "reset";

/** Bytes that wait here at most; beyond it the source is not read, so that its sender feels a full network. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

export class Flow {
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #waiting: { readonly item: Item; readonly dueMs: number }[] = [];
  #waitingBytes = 0;
  #blocked: "hold" | "lose" | null = null;
  /** A stream with a hole in it can't go on: no byte after the hole may arrive as if it followed. */
  #hasLost = false;
  #delayMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #budget: { bytes: number; readonly spent: () => void } | null = null;

  constructor(source: Socket, sink: Socket) {
    this.#source = source;
    this.#sink = sink;
    source.on("data", (chunk) => this.#take(chunk));
    source.on("end", () => this.#take("end"));
    // An RST is all that a destroyed peer leaves; it travels like a byte, so that a partition holds it back too.
    source.on("error", () => undefined);
    source.on("close", (hadError) => this.#take(hadError ? "reset" : "end"));
    sink.on("drain", () => this.#source.resume());
  }

  get hasLost(): boolean {
    return this.#hasLost;
  }

  block(kind: "hold" | "lose"): void {
    this.#blocked = kind;
    if (kind === "lose" && this.#waiting.length > 0) this.#lose();
  }

  unblock(): void {
    this.#blocked = null;
    this.#flush();
  }

  delay(ms: number): void {
    this.#delayMs = ms;
    this.#flush();
  }

  /** After so many bytes more nothing passes, and `spent` is called. */
  stopAfter(bytes: number, spent: () => void): void {
    this.#budget = { bytes, spent };
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#waiting.length = 0;
  }

  #take(item: Item): void {
    if (this.#hasLost) return;
    if (this.#blocked === "lose") return this.#lose();
    this.#waiting.push({ item, dueMs: performance.now() + this.#delayMs });
    if (item instanceof Buffer) {
      this.#waitingBytes += item.length;
      if (this.#waitingBytes > MAX_WAITING_BYTES) this.#source.pause();
    }
    this.#flush();
  }

  #lose(): void {
    this.#hasLost = true;
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    this.#source.resume();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    while (this.#blocked === null) {
      const next = this.#waiting[0];
      if (next === undefined) break;
      const earlyMs = this.#delayMs === 0 ? 0 : next.dueMs - performance.now();
      if (earlyMs > 0) {
        this.#timer = setTimeout(() => this.#flush(), Math.ceil(earlyMs));
        break;
      }
      this.#waiting.shift();
      this.#pass(next.item);
    }
  }

  #pass(item: Item): void {
    if (item === "end") {
      this.#sink.end();
      return;
    }
    if (item === "reset") {
      reset(this.#sink);
      return;
    }
    this.#waitingBytes -= item.length;
    if (this.#budget) return this.#passLast(item, this.#budget);
    const isFlowing = !this.#sink.writable || this.#sink.write(item);
    if (isFlowing && this.#waitingBytes <= MAX_WAITING_BYTES) this.#source.resume();
    else this.#source.pause();
  }

  #passLast(bytes: Buffer, budget: { bytes: number; readonly spent: () => void }): void {
    this.#sink.write(bytes.subarray(0, budget.bytes));
    budget.bytes -= bytes.length;
    if (budget.bytes > 0) return;
    this.#lose();
    budget.spent();
  }
}

/**
 * Ends a connection by an RST. Not while its own end is on its way: Node 20 then leaks the handle, and a process that holds
 * one never exits (uv_tcp_close_reset refuses a stream that shuts down, and TCPWrap takes it for closing all the same).
 */
export function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}

/**
 * Ends a connection in order, once what is under way has left. Safe to call again and again: `destroySoon` would add a
 * listener for each call, on a socket whose peer does not read for as long as it lives.
 */
export function endSoon(socket: Socket): void {
  if (!socket.listeners("finish").includes(socket.destroy)) socket.destroySoon();
}
