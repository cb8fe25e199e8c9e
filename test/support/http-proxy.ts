/**
 * A proxy that understands HTTP, as companies put between their machines and the world: it may let requests through and no
 * WebSocket, and it may answer from what it has stored.
 */
import { once } from "node:events";
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { onTestFinished } from "vitest";

interface Stored {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

export class HttpProxy {
  readonly #listener: Server;
  readonly #target: URL;
  readonly #stored = new Map<string, Stored>();
  readonly #upgraded = new Set<{ readonly server: Socket; readonly client: Duplex }>();
  #paths: string[] = [];
  /** What an upgrade is refused with; null lets it through. */
  refusesUpgradesWith: number | null = null;
  /** Whether the last answer of a path is given again and the server not asked. */
  replays = false;

  private constructor(targetUrl: string) {
    this.#target = new URL(targetUrl);
    this.#listener = createServer((request, response) => void this.#forward(request, response));
    this.#listener.on("upgrade", (request, socket, head) => {
      if (this.refusesUpgradesWith !== null) {
        // A client that gave up resets the connection; from an upgrade on nobody else listens for that.
        socket.on("error", () => socket.destroy());
        socket.end(`HTTP/1.1 ${this.refusesUpgradesWith} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
        return;
      }
      const server = connect(Number(this.#target.port), this.#target.hostname);
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let i = 0; i < request.rawHeaders.length; i += 2)
        lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
      server.write(`${lines.join("\r\n")}\r\n\r\n`);
      server.write(head);
      server.pipe(socket).pipe(server);
      const link = { server, client: socket };
      this.#upgraded.add(link);
      server.on("close", () => this.#upgraded.delete(link));
      for (const [one, other] of [
        [server, socket],
        [socket, server],
      ] as const) {
        one.on("error", () => other.destroy());
        one.on("close", () => other.destroy());
      }
    });
  }

  /** Closed when the test ends. */
  static async start(targetUrl: string): Promise<HttpProxy> {
    const proxy = new HttpProxy(targetUrl);
    proxy.#listener.listen(0, "127.0.0.1");
    await once(proxy.#listener, "listening");
    onTestFinished(() => {
      proxy.#listener.closeAllConnections();
      proxy.#listener.close();
    });
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** From here on the clients of open upgrades get nothing more from the server. */
  freezeUpgrades(): void {
    for (const { server, client } of this.#upgraded) server.unpipe(client);
  }

  cutUpgrades(): void {
    for (const { server, client } of this.#upgraded) {
      server.destroy();
      client.destroy();
    }
  }

  /** Paths of the requests since the last call, without upgrades. */
  takePaths(): string[] {
    const taken = this.#paths;
    this.#paths = [];
    return taken;
  }

  async #forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "").split("?")[0] ?? "";
    this.#paths.push(path);
    const stored = this.replays ? this.#stored.get(path) : undefined;
    const answer = stored ?? (await this.#ask(request).catch(() => null));
    if (answer === null) {
      response.destroy();
      return;
    }
    this.#stored.set(path, answer);
    response.writeHead(answer.status, answer.headers).end(answer.body);
  }

  #ask(request: IncomingMessage): Promise<Stored> {
    return new Promise((resolve, reject) => {
      const options = { method: request.method, headers: request.headers };
      const asked = httpRequest(new URL(request.url ?? "/", this.#target), options, (answer) => {
        const chunks: Buffer[] = [];
        answer.on("data", (chunk: Buffer) => chunks.push(chunk));
        answer.on("end", () =>
          resolve({ status: answer.statusCode ?? 502, headers: answer.headers, body: Buffer.concat(chunks) }),
        );
      });
      asked.on("error", reject);
      request.pipe(asked);
    });
  }
}
