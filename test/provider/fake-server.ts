/**
 * A flag server in the test's own process, written from the protocol alone: enough of it to drive a provider, with every
 * unkindness at hand.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { applyDelta, documentsOf } from "@flagback/core/evaluation";
import {
  type Delta,
  decodeRuntimeFrame,
  type OutcomeBatch,
  type RuntimeDocument,
  type RuntimeMessage,
  type ServerMessage,
  type StreamOutcome,
  SUBPROTOCOL,
} from "@flagback/schemas";
import { type WebSocket, WebSocketServer } from "ws";

export const TOKEN = "fb_runtime_test_secret";

/** The mark of a revision; the fake's histories never fork. */
const markOf = (revision: number) => revision.toString(16).padStart(16, "0");

export class FakeServer {
  readonly received: RuntimeMessage[] = [];
  readonly batches: OutcomeBatch[] = [];
  /** Counted outcomes, in order. */
  readonly outcomes: StreamOutcome[] = [];
  upgrades = 0;
  /** Upgrades are answered with this HTTP status instead. */
  refuses: number | null = null;
  leases = true;
  acks = true;
  epoch = "e".repeat(32);
  leaseMs = 15_000;
  heartbeatMs = 5_000;
  /** Batches counted, by instance. */
  readonly #through = new Map<string, number>();
  readonly #history: Delta[] = [];
  #documents = documentsOf([]);
  #revision = 1;
  #http: Server | null = null;
  #sockets: WebSocketServer | null = null;
  #port = 0;
  #waiters: (() => void)[] = [];

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get revision(): number {
    return this.#revision;
  }

  async start(): Promise<this> {
    const http = createServer((_, response) => response.writeHead(404).end());
    const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
    http.on("upgrade", (request, socket, head) => {
      this.upgrades += 1;
      this.#wake();
      if (this.refuses !== null) {
        socket.end(`HTTP/1.1 ${this.refuses} Refused\r\nConnection: close\r\n\r\n`);
        return;
      }
      if (request.headers.authorization !== `Bearer ${TOKEN}`) {
        socket.end("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n");
        return;
      }
      if (request.url !== "/v1/stream" || request.headers["sec-websocket-protocol"] !== SUBPROTOCOL) {
        socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
        return;
      }
      sockets.handleUpgrade(request, socket, head, (client) => this.#serve(client));
    });
    await new Promise<void>((resolve) => http.listen(this.#port, "127.0.0.1", resolve));
    this.#port = (http.address() as AddressInfo).port;
    this.#http = http;
    this.#sockets = sockets;
    return this;
  }

  /** Cuts every socket and frees the port; `start` brings it back on the same one. */
  async stop(): Promise<void> {
    const http = this.#http;
    this.#http = null;
    for (const client of this.#sockets?.clients ?? []) client.terminate();
    if (http) await new Promise((resolve) => http.close(resolve));
  }

  /** Sets the documents before anybody is connected. */
  hold(...documents: RuntimeDocument[]): void {
    this.#documents = documentsOf(documents);
  }

  /** One change, sent to everybody. */
  put(...documents: RuntimeDocument[]): void {
    this.change(documents, []);
  }

  change(put: RuntimeDocument[], gone: Delta["delete"]): void {
    const from = this.#revision;
    this.#revision += 1;
    const delta: Delta = {
      type: "delta",
      from,
      revision: this.#revision,
      mark: markOf(this.#revision),
      put,
      delete: gone,
    };
    this.#history.push(delta);
    this.#documents = applyDelta(this.#documents, delta);
    this.broadcast(delta);
  }

  broadcast(message: ServerMessage): void {
    this.broadcastText(JSON.stringify(message));
  }

  broadcastText(text: string): void {
    for (const client of this.#sockets?.clients ?? []) client.send(text);
  }

  /** Cuts the connections; the port stays open. */
  cut(code?: number): void {
    for (const client of this.#sockets?.clients ?? []) code === undefined ? client.terminate() : client.close(code);
  }

  /** Forgets everything that was counted, as a restored backup would. */
  restore(): void {
    this.epoch = "f".repeat(32);
    this.#through.clear();
    this.#history.length = 0;
  }

  get connections(): number {
    return this.#sockets?.clients.size ?? 0;
  }

  /** Resolves once the condition holds; looked at whenever something arrives. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  messages<Type extends RuntimeMessage["type"]>(type: Type): Extract<RuntimeMessage, { type: Type }>[] {
    return this.received.filter((message) => message.type === type) as Extract<RuntimeMessage, { type: Type }>[];
  }

  #serve(client: WebSocket): void {
    const send = (message: ServerMessage) => client.send(JSON.stringify(message));
    let instance = "";
    client.on("close", () => this.#wake());
    client.on("message", (data) => {
      const decoded = decodeRuntimeFrame(data.toString());
      if (decoded.kind !== "message") throw new Error(`the provider sent ${JSON.stringify(decoded)}`);
      const { message } = decoded;
      this.received.push(message);
      switch (message.type) {
        case "hello":
          instance = message.instance;
          this.#greet(send, instance, message.resume);
          break;
        case "lease":
          if (this.leases) send({ type: "lease", id: message.id, revision: this.#revision });
          break;
        case "outcomes":
          this.#count(client, send, instance, message);
          break;
        case "applied":
        case "goodbye":
          break;
      }
      this.#wake();
    });
  }

  #greet(
    send: (message: ServerMessage) => void,
    instance: string,
    resume: { epoch: string; revision: number; mark: string } | undefined,
  ): void {
    const head = { epoch: this.epoch, revision: this.#revision, mark: markOf(this.#revision) };
    const outcomesThrough = this.#through.get(instance) ?? 0;
    const limits = { maxFrameBytes: 1_048_576, maxBatchItems: 500 };
    send({ type: "hello", ...head, heartbeatMs: this.heartbeatMs, leaseMs: this.leaseMs, outcomesThrough, limits });
    if (resume?.epoch !== this.epoch || resume.mark !== markOf(resume.revision)) {
      send({ type: "snapshot", ...head, documents: [...this.#documents.values()] });
      return;
    }
    for (const delta of this.#history) if (delta.from >= resume.revision) send(delta);
  }

  #count(client: WebSocket, send: (message: ServerMessage) => void, instance: string, batch: OutcomeBatch): void {
    const through = this.#through.get(instance) ?? 0;
    if (batch.seq !== through + 1) {
      client.close(4412);
      return;
    }
    this.#through.set(instance, batch.seq);
    this.batches.push(batch);
    this.outcomes.push(...(batch.items as StreamOutcome[]));
    if (this.acks) send({ type: "outcomesAck", through: batch.seq });
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }
}
