/**
 * WebSocket upgrades, which fastify does not route: checked in the order of what a check costs, admitted at a bounded
 * rate, handed to the hub. Whatever one upgrade brings, it costs that socket and not the process.
 */
import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { FlagbackError, MAX_RUNTIME_FRAME_BYTES, SUBPROTOCOL } from "@flagback/schemas";
import type { Logger } from "pino";
import { WebSocketServer } from "ws";
import type { DoorLimits, DropReason } from "../limits.ts";
import type { StoredToken } from "../store/store.ts";
import { AdmissionRate } from "../stream/admission.ts";
import type { Hub } from "../stream/hub.ts";
import { forbidden } from "./access.ts";
import { refuse } from "./bare-answer.ts";
import { requestIdOf } from "./request-id.ts";
import { busy } from "./retry-later.ts";

/** When somebody whom a full or stopping server refuses should try again. */
const BUSY_RETRY_MS = 5_000;

export interface UpgradeParts {
  readonly hub: Hub;
  /** @throws FlagbackError */
  readonly authenticate: (request: IncomingMessage) => StoredToken;
  /** Web origins that may open a stream, such as `https://ops.example.com`. */
  readonly allowedOrigins: ReadonlySet<string>;
  readonly limits: Pick<DoorLimits, "upgradesPerSecond" | "upgradeBurst" | "maxStreams">;
  readonly headers: Readonly<Record<string, string>>;
  readonly log: Logger;
  readonly monotonicMs: () => number;
  /** The socket is a stream now. */
  readonly upgraded: (request: IncomingMessage) => void;
  readonly dropped: (reason: DropReason) => void;
}

export class Upgrades {
  readonly #parts: UpgradeParts;
  readonly #admission: AdmissionRate;
  readonly #webSockets: WebSocketServer;

  constructor(parts: UpgradeParts) {
    this.#parts = parts;
    const { upgradesPerSecond, upgradeBurst } = parts.limits;
    this.#admission = new AdmissionRate({ perSecond: upgradesPerSecond, burst: upgradeBurst });
    this.#webSockets = new WebSocketServer({
      noServer: true,
      // The hub knows its sessions.
      clientTracking: false,
      maxPayload: MAX_RUNTIME_FRAME_BYTES,
      perMessageDeflate: false,
      // The frames that it is given between those that are read beside it must not come later than those (ADR 16).
      allowSynchronousEvents: true,
      handleProtocols: (protocols) => (protocols.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    this.#webSockets.on("wsClientError", (error, socket, request) => {
      refuse(socket, noHandshake(error), parts.headers, requestIdOf(request.headers));
    });
  }

  watch(server: Server): void {
    server.on("upgrade", (request, socket, head) => this.#take(request, socket, head));
  }

  #take(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on("error", destroyOnError);
    try {
      const token = this.#check(request);
      this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        this.#parts.upgraded(request);
        this.#parts.hub.admit(webSocket, socket, token);
      });
    } catch (error) {
      const requestId = requestIdOf(request.headers);
      if (error instanceof FlagbackError) {
        refuse(socket, error, this.#parts.headers, requestId);
        return;
      }
      this.#parts.log.error({ err: error, requestId }, "an upgrade failed");
      socket.destroy();
    }
  }

  /** The runtime's token. @throws FlagbackError whatever forbids the upgrade. */
  #check(request: IncomingMessage): StoredToken {
    const { hub, allowedOrigins, limits, authenticate, monotonicMs, dropped } = this.#parts;
    if (request.url?.split("?")[0] !== "/v1/stream") throw noStream();
    const { origin } = request.headers;
    // A browser sends it and can't leave it out; it would let any page use what the person behind it may reach.
    if (origin !== undefined && !allowedOrigins.has(origin)) throw foreignOrigin();
    const token = authenticate(request);
    if (token.role !== "runtime") throw forbidden(token.role, "runtime", "open a stream");
    if (hub.isClosing) throw busy("The server is stopping.", BUSY_RETRY_MS);
    if (hub.size >= limits.maxStreams) {
      dropped("stream_limit");
      throw busy(`The server holds ${hub.size} streams, as many as it takes.`, BUSY_RETRY_MS);
    }
    // Last, so that nobody without a right to a stream uses up the turns of those who have it.
    const waitMs = this.#admission.ask(monotonicMs());
    if (waitMs > 0) {
      dropped("admission_rate");
      throw busy(`More than ${limits.upgradesPerSecond} streams are opening in a second.`, waitMs);
    }
    return token;
  }
}

/** No closure of `#take`'s: it would keep the whole request for as long as the stream lives. */
function destroyOnError(this: Duplex): void {
  this.destroy();
}

function noStream(): FlagbackError {
  return new FlagbackError({
    code: "not_found",
    message: "There is no WebSocket at this path.",
    hint: "The stream is at /v1/stream.",
  });
}

function foreignOrigin(): FlagbackError {
  return new FlagbackError({
    code: "forbidden",
    message: "The stream does not take connections from web pages of this origin.",
    hint: "Connect from a server process, which sends no Origin, or start the server with --allowed-origin ORIGIN.",
  });
}

function noHandshake(error: Error): FlagbackError {
  return new FlagbackError({
    code: "bad_request",
    message: `This is no WebSocket handshake (${error.message}).`,
    hint: "Open the stream with a WebSocket client, version 13 (RFC 6455).",
  });
}
