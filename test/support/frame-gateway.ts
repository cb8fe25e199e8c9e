/**
 * A gateway that speaks the stream's protocol at both ends: it relays each frame between one runtime and a server, tells what
 * it saw, and can be told to change, drop, repeat or invent what the runtime gets. HTTP beside the stream passes too.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { SUBPROTOCOL } from "@flagback/schemas";
import { WebSocket, WebSocketServer } from "ws";

export interface Upstream {
  readonly url: string;
  readonly token: string;
}

/** An HTTP answer as it passes. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/** What passes, in order. Texts to the runtime are told when they are sent, so before it can react. */
export interface GatewayEvents {
  opened(link: number): void;
  /** Null for bytes that are no WebSocket frame. */
  sent(link: number, text: string | null): void;
  heard(link: number, text: string): void;
  asked(path: string, headers: IncomingMessage["headers"]): void;
  answered(path: string, answer: HttpAnswer): void;
}

/** What becomes of a server's frame on its way: the frames that are sent instead of it, if any; null waits for a later one. */
export type FrameFault = (text: string, link: GatewayLink) => readonly string[] | null;

/** The same for a runtime's frame on its way to the server, on the connection of this number. */
export type BatchFault = (text: string, link: number) => readonly string[] | null;

/** Speaks in the server's place for one connection. */
export interface Impostor {
  heard(link: GatewayLink, text: string): void;
}

/** One connection of the runtime, as an impostor or a fault may use it. */
export interface GatewayLink {
  send(text: string): void;
  /** Bytes on the socket behind the WebSocket. */
  sendBytes(bytes: Buffer): void;
  /** With a close frame, or without one. */
  end(code?: number): void;
}

interface Relayed extends GatewayLink {
  readonly runtime: WebSocket;
  readonly server: WebSocket | null;
}

export class FrameGateway {
  readonly #http: Server;
  readonly #upstream: () => Upstream;
  readonly #events: GatewayEvents;
  readonly #sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  readonly #upstreams = new Set<WebSocket>();
  readonly #faults: FrameFault[] = [];
  readonly #batchFaults: BatchFault[] = [];
  readonly #impostors: Impostor[] = [];
  readonly #refusals: HttpAnswer[] = [];
  #blocked: HttpAnswer | null = null;
  #lastAnswer: HttpAnswer | undefined;
  #isReplaying = false;
  #links = 0;
  #current: Relayed | null = null;

  private constructor(upstream: () => Upstream, events: GatewayEvents) {
    this.#upstream = upstream;
    this.#events = events;
    this.#http = createServer((request, response) => {
      this.#passHttp(request, response).catch(() => response.destroy());
    });
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
  }

  static async start(upstream: () => Upstream, events: GatewayEvents): Promise<FrameGateway> {
    const gateway = new FrameGateway(upstream, events);
    gateway.#http.listen(0, "127.0.0.1");
    await once(gateway.#http, "listening");
    return gateway;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** The runtime's connection, where it has one. */
  get link(): GatewayLink | null {
    return this.#current;
  }

  /** The next frame of the server's that the fault is meant for meets it. */
  spoil(fault: FrameFault): void {
    this.#faults.push(fault);
  }

  /** The next frame of the runtime's that the fault is meant for meets it. */
  spoilBatch(fault: BatchFault): void {
    this.#batchFaults.push(fault);
  }

  /**
   * The next batch of the runtime's is held back until after the one that follows it on the same connection. Where the connection
   * ends first it is lost with it: on the next one, which may be another instance's, it would pass for a batch of that one's own.
   */
  reorderBatches(isBatch: (text: string) => boolean, held: () => void): void {
    this.spoilBatch((earlier, link) => {
      if (!isBatch(earlier)) return null;
      held();
      this.spoilBatch((later, present) => {
        if (present !== link) return [later];
        return isBatch(later) ? [later, earlier] : null;
      });
      return [];
    });
  }

  /** The next connection meets an impostor, and the present one ends. */
  impersonate(impostor: Impostor): void {
    this.#impostors.push(impostor);
    this.#current?.end();
  }

  /** The next upgrade or request is answered with this, and the present connection ends. */
  refuse(answer: HttpAnswer): void {
    this.#refusals.push(answer);
    this.#current?.end();
  }

  /** Every upgrade is answered with this until it is null again; requests beside the stream pass. */
  block(answer: HttpAnswer | null): void {
    this.#blocked = answer;
    if (answer) this.#current?.end();
  }

  /** The next request beside the stream gets the answer of the last one. */
  replayAnswer(): void {
    this.#isReplaying = true;
  }

  /** The upstream is another one from now on: nothing leads to the old one any more. */
  moved(): void {
    for (const socket of this.#upstreams) socket.terminate();
  }

  /** Forgets what was planned and not met yet. */
  behave(): void {
    this.#isReplaying = false;
    this.#faults.length = 0;
    this.#batchFaults.length = 0;
    this.#impostors.length = 0;
    this.#refusals.length = 0;
  }

  /** Every socket and the port. Safe twice. */
  async close(): Promise<void> {
    const closed = this.#http.listening ? once(this.#http, "close") : undefined;
    for (const socket of [...this.#upstreams, ...this.#sockets.clients]) socket.terminate();
    this.#http.close();
    this.#http.closeAllConnections();
    await closed;
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", () => undefined);
    const refusal = this.#refusals.shift() ?? this.#blocked;
    if (refusal) {
      const lines = Object.entries(refusal.headers).map(([name, value]) => `${name}: ${value}\r\n`);
      const length = Buffer.byteLength(refusal.text);
      const start = `HTTP/1.1 ${refusal.status} Refused\r\ncontent-length: ${length}\r\nconnection: close\r\n`;
      socket.end(`${start}${lines.join("")}\r\n${refusal.text}`);
      return;
    }
    const impostor = this.#impostors.shift();
    if (impostor) {
      this.#accept(request, socket, head, null, impostor);
      return;
    }
    const { url, token } = this.#upstream();
    const server = new WebSocket(`${url.replace(/^http/, "ws")}/v1/stream`, SUBPROTOCOL, {
      headers: { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
      // The runtime's own pongs go on to the server, so that it notices when there are none.
      autoPong: false,
    });
    this.#upstreams.add(server);
    server.on("error", () => undefined);
    const failed = () => socket.destroy();
    server.on("close", () => this.#upstreams.delete(server));
    server.on("close", failed);
    socket.on("close", () => server.terminate());
    server.on("open", () => {
      server.off("close", failed);
      this.#accept(request, socket, head, server, null);
    });
  }

  #accept(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    server: WebSocket | null,
    impostor: Impostor | null,
  ): void {
    this.#sockets.handleUpgrade(request, socket, head, (runtime) => {
      this.#links += 1;
      const number = this.#links;
      const link: Relayed = {
        runtime,
        server,
        send: (text) => {
          if (runtime.readyState !== WebSocket.OPEN) return;
          this.#events.sent(number, text);
          runtime.send(text);
        },
        sendBytes: (bytes) => {
          if (!socket.writable) return;
          this.#events.sent(number, null);
          socket.write(bytes);
        },
        end: (code) => (code === undefined ? runtime.terminate() : runtime.close(code)),
      };
      this.#current = link;
      this.#events.opened(number);
      runtime.on("error", () => undefined);
      runtime.on("close", () => {
        if (this.#current === link) this.#current = null;
        server?.terminate();
      });
      runtime.on("message", (data) => {
        this.#events.heard(number, data.toString());
        if (impostor) impostor.heard(link, data.toString());
        else if (server?.readyState === WebSocket.OPEN) {
          for (const frame of this.#spoiltBatch(data.toString(), number)) server.send(frame);
        }
      });
      if (server) this.#relay(server, link);
    });
  }

  #relay(server: WebSocket, link: Relayed): void {
    const { runtime } = link;
    server.on("message", (data) => {
      const text = data.toString();
      for (const frame of this.#spoilt(text, link) ?? [text]) link.send(frame);
    });
    server.on("ping", (data) => runtime.readyState === WebSocket.OPEN && runtime.ping(data));
    runtime.on("pong", (data) => server.readyState === WebSocket.OPEN && server.pong(data));
    server.on("close", (code, reason) => {
      // 1005 and 1006 say that there was no code, and can't be sent.
      if (code === 1005 || code === 1006) runtime.terminate();
      else runtime.close(code, reason);
    });
  }

  #spoilt(text: string, link: GatewayLink): readonly string[] | null {
    const fault = this.#faults[0];
    const frames = fault?.(text, link) ?? null;
    if (frames !== null) this.#faults.splice(this.#faults.indexOf(fault as FrameFault), 1);
    return frames;
  }

  #spoiltBatch(text: string, link: number): readonly string[] {
    const fault = this.#batchFaults[0];
    const frames = fault?.(text, link) ?? null;
    if (frames === null) return [text];
    this.#batchFaults.splice(this.#batchFaults.indexOf(fault as BatchFault), 1);
    return frames;
  }

  async #passHttp(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "/";
    this.#events.asked(path, request.headers);
    const answer = this.#refusals.shift() ?? this.#replayed() ?? (await this.#fetch(path, request));
    this.#lastAnswer = answer;
    this.#events.answered(path, answer);
    response.writeHead(answer.status, answer.headers).end(answer.text);
  }

  #replayed(): HttpAnswer | undefined {
    if (!this.#isReplaying) return undefined;
    this.#isReplaying = false;
    return this.#lastAnswer;
  }

  async #fetch(path: string, request: IncomingMessage): Promise<HttpAnswer> {
    const { url, token } = this.#upstream();
    const said = Object.entries(request.headers).filter(([name]) => name.startsWith("flagback-"));
    const answer = await fetch(url + path, {
      headers: { ...(Object.fromEntries(said) as Record<string, string>), authorization: `Bearer ${token}` },
    });
    const passing = ["content-type", "cache-control", "retry-after"];
    const headers = [...answer.headers].filter(([name]) => name.startsWith("flagback-") || passing.includes(name));
    return { status: answer.status, headers: Object.fromEntries(headers), text: await answer.text() };
  }
}
