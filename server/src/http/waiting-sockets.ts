/**
 * Seats a listener's sockets in the waiting room: from their connection to the first request whose sender is known, and between
 * requests. What a stranger asks for is answered at once, so who is still there takes its answer slowly or not at all.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type DropReason, MAX_PIPELINED_REQUESTS } from "../limits.ts";
import { type AddressRanges, parseAddress, senderOf } from "../net/addresses.ts";
import { type WaitingLimits, WaitingRoom } from "./waiting-room.ts";

interface Connection {
  /** Under TLS the plain socket below it, which exists before the handshake. */
  readonly socket: Socket;
  readonly sender: string | undefined;
  requests: number;
}

export class WaitingSockets {
  readonly #room: WaitingRoom;
  readonly #connections = new Map<string, Connection>();
  readonly #trustedProxies: AddressRanges;
  readonly #monotonicMs: () => number;
  readonly #dropped: (reason: DropReason) => void;

  constructor(parts: {
    readonly limits: WaitingLimits;
    readonly trustedProxies: AddressRanges;
    readonly monotonicMs: () => number;
    readonly dropped: (reason: DropReason) => void;
  }) {
    this.#room = new WaitingRoom(parts.limits);
    this.#trustedProxies = parts.trustedProxies;
    this.#monotonicMs = parts.monotonicMs;
    this.#dropped = parts.dropped;
  }

  /** How many sockets wait. */
  get size(): number {
    return this.#room.size;
  }

  watch(server: Server): void {
    server.on("connection", (socket: Socket) => {
      const { remoteAddress } = socket;
      // Reset before we saw it.
      if (remoteAddress === undefined) return void socket.destroy();
      const address = parseAddress(remoteAddress);
      const isProxy = address !== undefined && this.#trustedProxies.includes(address);
      const id = idOf(socket);
      const connection = { socket, sender: isProxy ? undefined : senderOf(remoteAddress), requests: 0 };
      this.#connections.set(id, connection);
      socket.once("close", () => {
        if (this.#connections.get(id) === connection) this.#forget(id);
      });
      this.#seat(id, connection);
    });
  }

  /** A request's headers have come. False where its socket has sent too many before their answers, and is ended. */
  began(request: IncomingMessage, response: ServerResponse): boolean {
    const id = idOf(request.socket);
    const connection = this.#connections.get(id);
    if (!connection) return true;
    // The parser goes on to the end of what it was given.
    if (connection.socket.destroyed) return false;
    connection.requests += 1;
    if (connection.requests > MAX_PIPELINED_REQUESTS) {
      this.#end(connection, "pipelined_requests");
      return false;
    }
    response.once("close", () => {
      connection.requests -= 1;
      if (connection.requests === 0 && this.#connections.get(id) === connection) this.#seat(id, connection);
    });
    return true;
  }

  /** The request's token is valid: its socket waits no more until the answer is out. */
  known(request: IncomingMessage): void {
    this.#room.leave(idOf(request.socket));
  }

  /** The socket became a stream, which has limits of its own. */
  upgraded(request: IncomingMessage): void {
    this.#forget(idOf(request.socket));
  }

  #seat(id: string, connection: Connection): void {
    const seated = this.#room.enter(id, connection.sender, this.#monotonicMs());
    if (!seated.isSeated) this.#end(connection, "waiting_sockets");
    else if (seated.pushedOut !== undefined) this.#end(this.#connections.get(seated.pushedOut), "waiting_sockets");
  }

  #end(connection: Connection | undefined, reason: DropReason): void {
    this.#dropped(reason);
    connection?.socket.destroy();
  }

  #forget(id: string): void {
    this.#room.leave(id);
    this.#connections.delete(id);
  }
}

/** A TLS socket answers the address and port of the plain one below it, so both have one id. */
function idOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}
