/**
 * The door: everything between a socket and a route. It makes the listener, bounds who waits at it, says who asks, and
 * lets streams in.
 */
import {
  createServer as createHttpServer,
  type ServerOptions as HttpServerOptions,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer, type Server as SecureServer } from "node:https";
import type { Socket } from "node:net";
import { FlagbackError } from "@flagback/schemas";
import type { Logger } from "pino";
import { Gate } from "../auth/gate.ts";
import type { Tokens } from "../auth/tokens.ts";
import {
  DEFAULT_DOOR_LIMITS,
  type DoorLimits,
  type DropReason,
  KEEP_ALIVE_MS,
  MAX_HEADER_BYTES,
  TIMEOUT_CHECK_MS,
} from "../limits.ts";
import { AddressRanges, senderOf } from "../net/addresses.ts";
import { clientAddress } from "../net/client-address.ts";
import type { StoredToken } from "../store/store.ts";
import type { Hub } from "../stream/hub.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { refuseMalformed } from "./bare-answer.ts";
import { Bodies } from "./bodies.ts";
import { SECURE_HEADERS, TLS_HEADERS } from "./secure-headers.ts";
import { type TlsFilePaths, TlsFiles } from "./tls-files.ts";
import { Upgrades } from "./upgrades.ts";
import { WaitingSockets } from "./waiting-sockets.ts";

export interface DoorOptions {
  /** Serves HTTPS with these files, and reads them again when they change. Default: plain HTTP. */
  readonly tls?: TlsFilePaths;
  /** Proxies whose `X-Forwarded-For` is believed: addresses or CIDR ranges. Default: none. */
  readonly trustedProxies?: readonly string[];
  /** Origins of web pages that may open a stream. Default: none. */
  readonly allowedOrigins?: readonly string[];
  readonly limits?: Partial<DoorLimits>;
}

export class Door {
  readonly isTls: boolean;
  readonly #limits: DoorLimits;
  readonly #gate: Gate;
  readonly #trustedProxies: AddressRanges;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #tls: TlsFiles | undefined;
  readonly #waiting: WaitingSockets;
  readonly #bodies: Bodies;
  readonly #upgrades: Upgrades;
  readonly #secureListeners: SecureServer[] = [];
  readonly #dropped: (reason: DropReason) => void;

  /** @throws FlagbackError `usage` or `tls_unusable` where the options are wrong. */
  constructor(
    options: DoorOptions,
    parts: {
      readonly tokens: Tokens;
      readonly hub: Hub;
      readonly metrics: Metrics;
      readonly log: Logger;
      readonly monotonicMs: () => number;
    },
  ) {
    const { tokens, hub, metrics, log, monotonicMs } = parts;
    const limits = { ...DEFAULT_DOOR_LIMITS, ...options.limits };
    this.#limits = limits;
    const dropped = (reason: DropReason) => metrics.dropped.inc({ reason });
    this.#dropped = dropped;
    this.#trustedProxies = AddressRanges.parse(options.trustedProxies ?? [], "--trust-proxy");
    this.#tls = options.tls && new TlsFiles(options.tls, log);
    this.#tls?.follow((credentials) => {
      for (const listener of this.#secureListeners) listener.setSecureContext(credentials);
    });
    this.isTls = this.#tls !== undefined;
    this.#headers = this.isTls ? TLS_HEADERS : SECURE_HEADERS;
    this.#gate = new Gate({
      tokens,
      failuresPerMinute: limits.authFailuresPerMinute,
      monotonicMs,
      onFailure: (result) => metrics.authFailures.inc({ result }),
    });
    this.#waiting = new WaitingSockets({
      limits: {
        places: limits.maxWaitingSockets,
        placesPerSender: limits.maxWaitingSocketsPerSender,
        patienceMs: limits.waitingPatienceMs,
      },
      trustedProxies: this.#trustedProxies,
      monotonicMs,
      dropped,
    });
    this.#bodies = new Bodies({ limits, monotonicMs, dropped: () => dropped("waiting_bodies") });
    this.#upgrades = new Upgrades({
      hub,
      authenticate: (request) => this.authenticate(request),
      allowedOrigins: originsOf(options.allowedOrigins ?? []),
      limits,
      headers: this.#headers,
      log,
      monotonicMs,
      upgraded: (request) => this.#waiting.upgraded(request),
      dropped,
    });
  }

  /** The token of a request. @throws FlagbackError `unauthorized` or `too_many_failures`. */
  authenticate(request: IncomingMessage): StoredToken {
    const token = this.#gate.authenticate(request.headers.authorization, clientAddress(request, this.#trustedProxies));
    this.#waiting.known(request);
    return token;
  }

  /** The token of a request that is known by something else. Failures count as all others of its sender. */
  check(request: IncomingMessage, attempt: () => StoredToken): StoredToken {
    const token = this.#gate.check(attempt, clientAddress(request, this.#trustedProxies));
    this.#waiting.known(request);
    return token;
  }

  /** Before a request's body is read, of the token's holder or of a stranger. @throws RetryLater `overloaded` */
  expectBody(request: IncomingMessage, response: ServerResponse, token: StoredToken | undefined): void {
    const stranger = () => senderOf(clientAddress(request, this.#trustedProxies));
    this.#bodies.expect(request, response, token ? { tokenId: token.id } : { address: stranger() });
  }

  /** Makes a listener. Fastify asks for one on each address that its host's name has. */
  listener(handle: RequestListener): Server {
    const options = {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: this.#limits.headersTimeoutMs,
      requestTimeout: this.#limits.requestTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    } satisfies HttpServerOptions;
    const cutOffUnread = (socket: Socket) => this.#cutOffUnread(socket);
    const answer: RequestListener = (request, response) => {
      if (!this.#waiting.began(request, response)) return;
      for (const [name, value] of Object.entries(this.#headers)) response.setHeader(name, value);
      response.on("timeout", cutOffUnread);
      handle(request, response);
    };
    const server = this.#tls ? this.#secureListener(this.#tls, options, answer) : createHttpServer(options, answer);
    server.setTimeout(this.#limits.unreadAnswerMs);
    this.#waiting.watch(server);
    server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      if (error.code === "ERR_HTTP_REQUEST_TIMEOUT") this.#dropped("slow_request");
      refuseMalformed(error, socket, this.#headers);
    });
    return server;
  }

  /** Takes the upgrades of the listener that fastify gathers them at. */
  takeUpgrades(server: Server): void {
    this.#upgrades.watch(server);
  }

  /** Safe twice. */
  close(): void {
    this.#tls?.close();
  }

  /** Nothing has come or gone for long. A socket with nothing to write waits for us and not for its reader. */
  #cutOffUnread(socket: Socket): void {
    if (socket.writableLength === 0) return;
    this.#dropped("unread_answer");
    socket.destroy();
  }

  #secureListener(tls: TlsFiles, options: HttpServerOptions, answer: RequestListener): Server {
    const server = createHttpsServer(
      { ...options, ...tls.credentials, handshakeTimeout: this.#limits.headersTimeoutMs },
      answer,
    );
    this.#secureListeners.push(server);
    return server;
  }
}

/** @throws FlagbackError `usage` where one is more or less than scheme, host and port: it would never match. */
function originsOf(texts: readonly string[]): ReadonlySet<string> {
  const problems = texts.filter((text) => !URL.canParse(text) || new URL(text).origin !== text);
  if (problems.length === 0) return new Set(texts);
  throw new FlagbackError({
    code: "usage",
    message: `--allowed-origin: ${problems.join(", ")} is no origin.`,
    hint: "Give scheme, host and port only, in lower case and without a slash at the end, such as https://ops.example.com.",
  });
}
