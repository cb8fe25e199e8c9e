/**
 * A gate on the way to a server, on a port of its own: the server stays as it is while clients lose it.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class Gate {
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #sockets = new Set<Socket>();
  #way: "open" | "silent" | "shut" = "open";

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** Listens, open, in front of a server such as `http://127.0.0.1:7780`. */
  static async before(url: string): Promise<Gate> {
    const gate = new Gate(Number(new URL(url).port));
    gate.#server.listen(0, "127.0.0.1");
    await once(gate.#server, "listening");
    return gate;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  open(): void {
    this.#way = "open";
  }

  /** Who connects from now on gets no answer, as behind a firewall that drops packets. */
  silence(): void {
    this.#way = "silent";
  }

  /** Cuts everybody, and whoever comes back. */
  shut(): void {
    this.#way = "shut";
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.shut();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close");
  }

  #accept(client: Socket): void {
    if (this.#way === "shut") {
      client.destroy();
      return;
    }
    this.#hold(client);
    if (this.#way === "silent") return;
    const server = this.#hold(connect(this.#targetPort, "127.0.0.1"));
    client.pipe(server).pipe(client);
    client.on("close", () => server.destroy());
    server.on("close", () => client.destroy());
  }

  #hold(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    // A cut connection may end with an error on either side; the close that follows says enough.
    socket.on("error", () => undefined);
    return socket;
  }
}
