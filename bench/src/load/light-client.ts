/**
 * A runtime that costs next to nothing, so that a benchmark measures the server: one TCP socket that speaks just enough
 * WebSocket and reads just enough of each frame. The floors are read by the same code.
 */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";

/** What the client speaks: the stream's protocol, WebSocket frames that it only receives, or lines of bytes. */
export type Speech = "flagback" | "ws" | "tcp";

export interface LightClientOptions {
  readonly speech: Speech;
  readonly port: number;
  readonly token: string;
  /** A frame with this revision was received and, where it is the stream's, is applied. */
  readonly onRevision: (revision: number, client: LightClient) => void;
  readonly onOutcomesAck?: (through: number, client: LightClient) => void;
  readonly onEnd?: (client: LightClient) => void;
  /** What the client says it holds. */
  readonly resume?: Cursor;
}

/** Where in the server's history a client stands. */
export interface Cursor {
  readonly epoch: string;
  readonly revision: number;
  readonly mark: string;
}

/** When the server asked to be asked again: in `afterMs`, and within `spreadMs` from then. */
export interface Invitation {
  readonly afterMs: number;
  readonly spreadMs: number;
}

const OPCODE_TEXT = 1;
const OPCODE_CLOSE = 8;
const OPCODE_PING = 9;
const OPCODE_PONG = 10;
/** A mask of zeros is a mask (RFC 6455, section 5.3 asks browsers for a random one), and costs the client nothing. */
const NO_MASK = Buffer.alloc(4);

export class LightClient {
  readonly instance: string;
  readonly #options: LightClientOptions;
  readonly #socket: Socket;
  #pending: Buffer | null = null;
  #isUpgraded = false;
  #leases = 0;
  #readyResolve: (() => void) | undefined;
  /** Revision that the client holds; -1 before the first. */
  revision = -1;
  outcomesThrough = 0;
  #lastDelta: Buffer | null = null;
  #epoch = "";
  #mark = "";
  /** What the server said when it hung up or let nobody in. */
  invitation: Invitation | null = null;

  constructor(options: LightClientOptions, instance = randomBytes(16).toString("hex")) {
    this.#options = options;
    this.instance = instance;
    this.#socket = connect({ port: options.port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("connect", () => this.#opened());
    this.#socket.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#socket.on("error", () => undefined);
    this.#socket.on("close", () => {
      this.#readyResolve?.();
      this.#options.onEnd?.(this);
    });
  }

  /** Settles with the first revision, or where there is none with the upgrade; and with the end of a socket that got neither. */
  ready(): Promise<void> {
    return new Promise((resolve) => {
      if (this.isReady) resolve();
      else this.#readyResolve = resolve;
    });
  }

  /** The last delta. */
  get lastText(): string {
    return this.#lastDelta?.toString() ?? "";
  }

  get cursor(): Cursor {
    return { epoch: this.#epoch, revision: this.revision, mark: this.#mark };
  }

  get isReady(): boolean {
    return this.#options.speech === "flagback" ? this.revision >= 0 : this.#isUpgraded;
  }

  /** Says, as a runtime does, that it has applied what it holds. */
  acknowledge(): void {
    this.sendText(`{"type":"applied","revision":${this.revision},"appliedAfterMs":0}`);
  }

  askLease(): void {
    this.#leases += 1;
    this.sendText(`{"type":"lease","id":${this.#leases}}`);
  }

  sendText(text: string): void {
    this.#socket.write(frameOf(OPCODE_TEXT, Buffer.from(text)));
  }

  /** Many messages in one write, as a runtime's do that sends them in one turn of its event loop. */
  sendTexts(texts: readonly string[]): void {
    this.#socket.write(Buffer.concat(texts.map((text) => frameOf(OPCODE_TEXT, Buffer.from(text)))));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #opened(): void {
    if (this.#options.speech === "tcp") return this.#ready();
    const { token, port } = this.#options;
    this.#socket.write(
      `GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\nSec-WebSocket-Version: 13\r\n` +
        `Sec-WebSocket-Protocol: flagback.v1\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    );
  }

  #ready(): void {
    this.#isUpgraded = true;
    if (!this.isReady) return;
    this.#readyResolve?.();
    this.#readyResolve = undefined;
  }

  #hello(): void {
    const { resume } = this.#options;
    const more = resume === undefined ? "" : `,"resume":${JSON.stringify(resume)}`;
    this.sendText(`{"type":"hello","instance":"${this.instance}","sdk":"light"${more}}`);
  }

  #refused(head: string): void {
    const seconds = /^retry-after: (\d+)/im.exec(head)?.[1];
    if (seconds !== undefined) this.invitation = { afterMs: Number(seconds) * 1_000, spreadMs: 0 };
    this.destroy();
  }

  #take(chunk: Buffer): void {
    let data = this.#pending === null ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = null;
    if (!this.#isUpgraded) {
      const end = data.indexOf("\r\n\r\n");
      if (end < 0) {
        this.#pending = data;
        return;
      }
      const head = data.toString("latin1", 0, end);
      if (!head.startsWith("HTTP/1.1 101")) return this.#refused(head);
      this.#ready();
      if (this.#options.speech === "flagback") this.#hello();
      data = data.subarray(end + 4);
    }
    // Bytes of the plain floor are the same frames, so that both ends move the same bytes.
    this.#frames(data);
  }

  #frames(data: Buffer): void {
    let at = 0;
    while (data.length - at >= 2) {
      const short = (data[at + 1] as number) & 0x7f;
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (data.length - at < head) break;
      const length =
        short < 126 ? short : short === 126 ? data.readUInt16BE(at + 2) : Number(data.readBigUInt64BE(at + 2));
      if (data.length - at < head + length) break;
      this.#frame((data[at] as number) & 0x0f, data.subarray(at + head, at + head + length));
      at += head + length;
    }
    if (at < data.length) this.#pending = Buffer.from(data.subarray(at));
  }

  #frame(opcode: number, payload: Buffer): void {
    if (opcode === OPCODE_PING) {
      this.#socket.write(frameOf(OPCODE_PONG, payload));
      return;
    }
    if (opcode === OPCODE_CLOSE) return this.destroy();
    // Every frame of the server begins with its type, and numbers come before documents.
    const text = payload.toString("latin1", 0, 200);
    const isDelta = text.startsWith('{"type":"delta"');
    if (isDelta || text.startsWith('{"type":"snapshot"')) {
      const revision = numberAfter(text, '"revision":');
      this.revision = revision;
      this.#mark = textAfter(text, '"mark":"');
      if (isDelta) this.#lastDelta = payload;
      this.#options.onRevision(revision, this);
      this.#ready();
    } else if (text.startsWith('{"type":"outcomesAck"')) {
      const through = numberAfter(text, '"through":');
      this.outcomesThrough = through;
      this.#options.onOutcomesAck?.(through, this);
    } else if (text.startsWith('{"type":"hello"')) {
      this.#epoch = textAfter(text, '"epoch":"');
    } else if (text.startsWith('{"type":"goodbye"')) {
      this.invitation = { afterMs: numberAfter(text, '"retryAfterMs":'), spreadMs: numberAfter(text, '"spreadMs":') };
    }
  }
}

function frameOf(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  if (length < 126) head[1] = 0x80 | length;
  else if (length < 65_536) {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = 0x80 | 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, NO_MASK, payload]);
}

function numberAfter(text: string, name: string): number {
  const at = text.indexOf(name);
  return at < 0 ? Number.NaN : Number.parseInt(text.slice(at + name.length, at + name.length + 16), 10);
}

/** What stands between the name and the next quotation mark. */
function textAfter(text: string, name: string): string {
  const at = text.indexOf(name);
  return at < 0 ? "" : text.slice(at + name.length, text.indexOf('"', at + name.length));
}
