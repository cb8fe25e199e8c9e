/**
 * Where alerts go: takes them, and now and then refuses one, which has to come again.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { machineMs } from "../lease-bound/machine-clock.ts";
import type { ChaosEvent } from "./history.ts";

export class AlertReceiver {
  readonly #http: Server;
  #refusals = 0;

  private constructor(record: (event: ChaosEvent) => void) {
    this.#http = createServer(async (request, response) => {
      const body = await text(request).catch(() => null);
      // The server was killed while it spoke.
      if (body === null) return;
      if (this.#refusals > 0) {
        this.#refusals -= 1;
        response.writeHead(503).end();
        return;
      }
      if (request.url === "/") {
        const { kind: alert, incident = null, text } = JSON.parse(body) as Record<string, string>;
        const id = String(request.headers["webhook-id"]);
        record({
          kind: "alerted",
          atMs: machineMs(),
          id,
          alert: alert ?? "",
          incident: incident ?? null,
          text: text ?? "",
        });
      }
      response.writeHead(204).end();
    });
  }

  static async start(record: (event: ChaosEvent) => void): Promise<AlertReceiver> {
    const receiver = new AlertReceiver(record);
    receiver.#http.listen(0, "127.0.0.1");
    await once(receiver.#http, "listening");
    return receiver;
  }

  /** What is sent to its root is part of the history. */
  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}/`;
  }

  /** The next delivery is answered with 503. */
  refuseNext(): void {
    this.#refusals += 1;
  }

  /** Everything is taken from now on. */
  heal(): void {
    this.#refusals = 0;
  }

  async close(): Promise<void> {
    const closed = once(this.#http, "close");
    this.#http.close();
    this.#http.closeAllConnections();
    await closed;
  }
}
