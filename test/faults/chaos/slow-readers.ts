/**
 * Runtimes that say hello and then read nothing, while a large document changes again and again: the server must not keep
 * for them what they don't take.
 */
import { setTimeout } from "node:timers/promises";
import { SUBPROTOCOL } from "@flagback/schemas";
import { WebSocket } from "ws";
import { SeededRandom } from "../../support/seeded-random.ts";
import { HEARTBEAT_MS } from "./cast.ts";
import type { Operator } from "./operator.ts";

/** Changes of the large document: more than the kernel's buffers and the server's hold together. */
const CHANGES = 48;
/** Longer than the two heartbeats after which the server gives up a reader: by then it has, or is gone itself. */
const NOTICE_TIMEOUT_MS = 4 * HEARTBEAT_MS;
const LOOK_EVERY_MS = HEARTBEAT_MS / 10;

export class SlowReaders {
  readonly #url: string;
  readonly #token: string;
  readonly #viewerToken: string;
  readonly #random: SeededRandom;
  readonly #sockets = new Set<WebSocket>();
  /** Those that the server closed because they did not read. */
  closed = 0;

  /** @param viewerToken for the server's own count of whom it closed */
  constructor(url: string, token: string, viewerToken: string, seed: number) {
    this.#url = url;
    this.#token = token;
    this.#viewerToken = viewerToken;
    this.#random = new SeededRandom(seed);
  }

  /** Connects them and changes what they don't read. */
  async begin(count: number, operator: Operator): Promise<void> {
    const before = await this.#closedByTheServer();
    for (let i = 0; i < count; i++) this.#connect();
    for (let i = 0; i < CHANGES; i++) await operator.ask({ kind: "bulk" });
    // They hear nothing of it themselves: the close waits behind what they don't read.
    const deadlineMs = performance.now() + NOTICE_TIMEOUT_MS;
    let closed = before;
    while (closed < before + count && performance.now() < deadlineMs) {
      await setTimeout(LOOK_EVERY_MS);
      closed = await this.#closedByTheServer();
    }
    this.closed += Math.max(0, closed - before);
  }

  /** Of the present server's life; 0 where it is gone. */
  async #closedByTheServer(): Promise<number> {
    try {
      return await this.#askClosed();
    } catch {
      return 0;
    }
  }

  async #askClosed(): Promise<number> {
    const headers = { authorization: `Bearer ${this.#viewerToken}` };
    const text = await (await fetch(`${this.#url}/metrics`, { headers })).text();
    return Number(/^flagback_dropped_total\{reason="slow_reader"\} (\d+)/m.exec(text)?.[1] ?? 0);
  }

  /** What was sent meanwhile is read, so that who was closed hears of it. */
  heal(): void {
    for (const socket of this.#sockets) {
      socket.resume();
      socket.close();
    }
  }

  close(): void {
    for (const socket of this.#sockets) socket.terminate();
  }

  #connect(): void {
    const instance = this.#random.hex(32);
    const socket = new WebSocket(`${this.#url.replace(/^http/, "ws")}/v1/stream`, SUBPROTOCOL, {
      headers: { authorization: `Bearer ${this.#token}` },
      perMessageDeflate: false,
    });
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("open", () => {
      socket.send(JSON.stringify({ type: "hello", instance, sdk: "slow" }));
      socket.pause();
    });
    socket.on("close", () => this.#sockets.delete(socket));
  }
}
