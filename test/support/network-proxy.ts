/**
 * A network that can be broken: a TCP proxy on a port of its own between a client and a server. What it does to the bytes
 * is told to it; nothing in it is random, so that a seeded caller gets the same faults again.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { endSoon, Flow, reset } from "./network-flow.ts";

/** Which way bytes go. */
export type Direction = "toServer" | "toClient";
export type Directions = Direction | "both";

/**
 * What a partition does to the bytes sent meanwhile. `hold`: they wait, as in TCP's retransmission, and arrive when it heals.
 * `lose`: they are gone, and a connection that lost some stays silent for ever, as one that a middlebox forgot.
 */
export type PartitionKind = "hold" | "lose";

/** How a connection ends: both ways in order, one way only, or with an RST that loses what is under way. */
export type Ending = "close" | "halfClose" | "reset";

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  readonly flows: Readonly<Record<Direction, Flow>>;
}

export class NetworkProxy {
  readonly #listener: Server;
  readonly #links = new Set<Link>();
  readonly #kinds: Record<Direction, PartitionKind | null> = { toServer: null, toClient: null };
  #delayMs = 0;
  #accepted = 0;

  private constructor(target: () => { readonly host: string; readonly port: number }) {
    this.#listener = createServer({ allowHalfOpen: true }, (client) => {
      this.#accepted += 1;
      this.#link(client, connect({ ...target(), allowHalfOpen: true }));
    });
  }

  /** @param targetUrl where connections lead; asked again for each, so that a server may come back elsewhere */
  static async start(targetUrl: () => string): Promise<NetworkProxy> {
    const proxy = new NetworkProxy(() => {
      const { hostname, port } = new URL(targetUrl());
      return { host: hostname, port: Number(port) };
    });
    proxy.#listener.listen(0, "127.0.0.1");
    await once(proxy.#listener, "listening");
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`;
  }

  /** Connections that are open at either end. */
  get connections(): number {
    return this.#links.size;
  }

  /** Connections that were ever opened. */
  get accepted(): number {
    return this.#accepted;
  }

  /** From now on no byte passes, and nothing is closed; also on connections that are yet to come. */
  partition(directions: Directions = "both", kind: PartitionKind = "hold"): void {
    for (const direction of each(directions)) {
      this.#kinds[direction] = kind;
      for (const { flows } of this.#links) flows[direction].block(kind);
    }
  }

  /** Each chunk arrives this much later, in order. */
  delay(ms: number): void {
    this.#delayMs = ms;
    for (const { flows } of this.#links) for (const direction of each("both")) flows[direction].delay(ms);
  }

  /** Ends partitions and delays. What was held arrives; a connection that lost bytes stays silent. */
  heal(): void {
    this.delay(0);
    for (const direction of each("both")) {
      this.#kinds[direction] = null;
      for (const { flows } of this.#links) flows[direction].unblock();
    }
  }

  /** Ends every connection, also those that are cut off from each other. */
  cut(ending: Ending = "close", direction: Direction = "toClient"): void {
    for (const { client, server } of [...this.#links]) {
      switch (ending) {
        case "close":
          endSoon(client);
          endSoon(server);
          break;
        case "halfClose":
          (direction === "toClient" ? client : server).end();
          break;
        case "reset":
          reset(client);
          reset(server);
          break;
      }
    }
  }

  /** Lets so many bytes more pass in the direction on each connection, then ends it: in the middle of a frame. */
  cutAfter(bytes: number, direction: Direction = "toClient"): void {
    for (const { client, server, flows } of this.#links) {
      flows[direction].stopAfter(bytes, () => {
        // In order, because a reset might overtake the bytes.
        endSoon(client);
        endSoon(server);
      });
    }
  }

  /** Frees the port and every socket and timer. Safe twice. */
  async close(): Promise<void> {
    const closed = this.#listener.listening ? once(this.#listener, "close") : undefined;
    this.#listener.close();
    for (const { client, server } of this.#links) {
      client.destroy();
      server.destroy();
    }
    await closed;
  }

  #link(client: Socket, server: Socket): void {
    const flows = { toServer: new Flow(client, server), toClient: new Flow(server, client) };
    const link: Link = { client, server, flows };
    this.#links.add(link);
    for (const direction of each("both")) {
      flows[direction].delay(this.#delayMs);
      const kind = this.#kinds[direction];
      if (kind) flows[direction].block(kind);
    }
    const closed = () => {
      if (!client.destroyed || !server.destroyed) return;
      for (const direction of each("both")) flows[direction].close();
      this.#links.delete(link);
    };
    // Where bytes were lost neither end hears of the other's, so that both would stay half open for ever.
    const ended = () => {
      if (!client.readableEnded || !server.readableEnded) return;
      if (!flows.toClient.hasLost && !flows.toServer.hasLost) return;
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on("end", ended).on("close", closed);
  }
}

function each(directions: Directions): readonly Direction[] {
  return directions === "both" ? ["toServer", "toClient"] : [directions];
}
