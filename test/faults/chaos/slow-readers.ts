/**
 * Runtimes that say hello and then read nothing, while a large document changes again and again: the server must not keep
 * for them what they don't take.
 */
import { SUBPROTOCOL } from "@flagback/schemas";
import { WebSocket } from "ws";
import { SeededRandom } from "../../support/seeded-random.ts";
import type { Operator } from "./operator.ts";

/** Changes of the large document: more than the kernel's buffers and the server's hold together. */
const CHANGES = 48;
const SLOW_READER = 4408;

export class SlowReaders {
  readonly #url: string;
  readonly #token: string;
  readonly #random: SeededRandom;
  readonly #sockets = new Set<WebSocket>();
  /** Those that the server closed because they did not read. */
  closed = 0;

  constructor(url: string, token: string, seed: number) {
    this.#url = url.replace(/^http/, "ws");
    this.#token = token;
    this.#random = new SeededRandom(seed);
  }

  /** Connects them and changes what they don't read. */
  async begin(count: number, operator: Operator): Promise<void> {
    for (let i = 0; i < count; i++) this.#connect();
    for (let i = 0; i < CHANGES; i++) await operator.ask({ kind: "bulk" });
  }

  /** What was sent meanwhile is read, so that who was closed hears of it. */
  heal(): void {
    for (const socket of this.#sockets) {
      socket.resume();
      socket.close();
      setTimeout(() => socket.terminate(), 1_000).unref();
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.terminate();
  }

  #connect(): void {
    const instance = this.#random.hex(32);
    const socket = new WebSocket(`${this.#url}/v1/stream`, SUBPROTOCOL, {
      headers: { authorization: `Bearer ${this.#token}` },
      perMessageDeflate: false,
    });
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("open", () => {
      socket.send(JSON.stringify({ type: "hello", instance, sdk: "slow" }));
      socket.pause();
    });
    socket.on("close", (code) => {
      this.#sockets.delete(socket);
      if (code === SLOW_READER) this.closed += 1;
    });
  }
}
