/**
 * Stands between a provider and a real server, passes every frame on and keeps the outcomes that the server acknowledged.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { decodeRuntimeFrame, decodeServerFrame, type OutcomeBatch, type StreamOutcome } from "@flagback/schemas";
import { WebSocket, WebSocketServer } from "ws";

export class StreamTap {
  /** Outcomes that are durable in the server, in order. */
  readonly outcomes: StreamOutcome[] = [];
  readonly #server: string;
  readonly #http = createServer((_, response) => response.writeHead(404).end());
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  readonly #onTheirWay: OutcomeBatch[] = [];
  readonly #waiters: (() => void)[] = [];

  private constructor(server: string) {
    this.#server = server.replace(/^http/, "ws");
    this.#http.on("upgrade", (request, socket, head) => {
      this.#sockets.handleUpgrade(request, socket, head, (runtime) => {
        const { authorization = "" } = request.headers;
        const protocols = String(request.headers["sec-websocket-protocol"]).split(",");
        this.#relay(runtime, new WebSocket(this.#server + request.url, protocols, { headers: { authorization } }));
      });
    });
  }

  static async before(server: string): Promise<StreamTap> {
    const tap = new StreamTap(server);
    await new Promise<void>((resolve) => tap.#http.listen(0, "127.0.0.1", resolve));
    return tap;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** The outcome of a run, once it is durable. */
  async outcomeOf(runId: string): Promise<StreamOutcome> {
    for (;;) {
      const found = this.outcomes.find((outcome) => outcome.runId === runId);
      if (found) return found;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  #relay(runtime: WebSocket, server: WebSocket): void {
    const early: string[] = [];
    runtime.on("message", (data) => {
      const text = data.toString();
      const decoded = decodeRuntimeFrame(text);
      if (decoded.kind === "message" && decoded.message.type === "outcomes") this.#onTheirWay.push(decoded.message);
      if (server.readyState === WebSocket.CONNECTING) early.push(text);
      else server.send(text);
    });
    server.on("open", () => {
      for (const text of early) server.send(text);
    });
    server.on("message", (data) => {
      const text = data.toString();
      const decoded = decodeServerFrame(text);
      if (decoded.kind === "message" && decoded.message.type === "outcomesAck") this.#settled(decoded.message.through);
      runtime.send(text);
    });
    runtime.on("close", () => server.close());
    server.on("close", () => runtime.close());
    server.on("error", () => runtime.terminate());
  }

  #settled(through: number): void {
    while (this.#onTheirWay[0] && this.#onTheirWay[0].seq <= through) {
      this.outcomes.push(...((this.#onTheirWay.shift()?.items ?? []) as StreamOutcome[]));
    }
    for (const waiter of this.#waiters.splice(0)) waiter();
  }
}
