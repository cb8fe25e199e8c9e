/**
 * What strangers and runtimes together may cost the server before anybody is served. Each limit is counted in a metric
 * when it bites.
 */

/** Limits that cost somebody a socket or an item, as the metric of what was dropped names them. */
export const DROP_REASONS = [
  "admission_rate",
  "stream_limit",
  "waiting_sockets",
  "waiting_bodies",
  "held_requests",
  "pipelined_requests",
  "unread_answer",
  "slow_request",
  "no_hello",
  "slow_reader",
  "unwritten_outcomes",
  "polling_runtime",
  "feedback",
] as const;
export type DropReason = (typeof DROP_REASONS)[number];

export interface DoorLimits {
  /** Streams opened in a second, over all runtimes, once their tokens are checked. Those beyond are told when to come. */
  readonly upgradesPerSecond: number;
  /** Streams opened at once after a pause. */
  readonly upgradeBurst: number;
  /** Streams held at once. */
  readonly maxStreams: number;
  /** Sockets that have sent no whole headers, idle between two requests, or are a stranger's who takes its answer. */
  readonly maxWaitingSockets: number;
  /** The same, of one sender. */
  readonly maxWaitingSocketsPerSender: number;
  /** Bodies on their way, of requests whose token is known. */
  readonly maxBodies: number;
  /** The same, of one token. */
  readonly maxBodiesPerToken: number;
  /** Bodies on their way, of requests that are known by their body, such as signed signals. */
  readonly maxStrangersBodies: number;
  /** The same, of one sender. */
  readonly maxStrangersBodiesPerSender: number;
  /** Requests that wait for something to happen, such as the next audit row. */
  readonly maxHeldRequests: number;
  /** The same, of one token. */
  readonly maxHeldRequestsPerToken: number;
  /** How long a socket, a body or a held request may wait before another that needs its place takes it. */
  readonly waitingPatienceMs: number;
  /** From a connection to its whole headers, and for a TLS handshake. */
  readonly headersTimeoutMs: number;
  /** From a connection to its whole request. */
  readonly requestTimeoutMs: number;
  /** While nothing of an answer is read. */
  readonly unreadAnswerMs: number;
  /** From an open stream to its hello. */
  readonly helloTimeoutMs: number;
  /** Failed authentications of one sender in a minute. Those beyond are refused until the minute is over. */
  readonly authFailuresPerMinute: number;
}

export const DEFAULT_DOOR_LIMITS: DoorLimits = {
  upgradesPerSecond: 2_000,
  upgradeBurst: 1_000,
  maxStreams: 50_000,
  // Measured: 7 kB each. One address may be a whole fleet's, which comes back at once after a restart.
  maxWaitingSockets: 16_384,
  maxWaitingSocketsPerSender: 4_096,
  // Of 1 MiB each at most, and those of strangers of 256 KiB: half a gigabyte. One that comes at once has its place for a turn.
  maxBodies: 512,
  maxBodiesPerToken: 64,
  maxStrangersBodies: 128,
  maxStrangersBodiesPerSender: 16,
  // Each costs some kilobytes, and a look when something happens.
  maxHeldRequests: 1_024,
  maxHeldRequestsPerToken: 64,
  waitingPatienceMs: 5_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  unreadAnswerMs: 30_000,
  helloTimeoutMs: 10_000,
  authFailuresPerMinute: 60,
};

/** Held requests that are told in one turn of the event loop that something happened: each reads the store and answers. */
export const TOLD_PER_TURN = 16;

/** Senders whose failed authentications are remembered. Beyond, the one that began longest ago is forgotten. */
export const MAX_TRACKED_SENDERS = 10_000;
/** Longest pause that a runtime is told to make before it tries to open its stream again, in seconds. */
export const MAX_RETRY_AFTER_SECONDS = 30;

/**
 * Connections that the kernel holds for us until we take them; it takes fewer where `net.core.somaxconn` says so. Beyond, a
 * runtime's connect is lost and tried again by its kernel only a second later, and then three. Not more than we take in a
 * quarter of a second, because a listener takes all of them in one turn.
 */
export const LISTEN_BACKLOG = 2_048;

/** Requests that a socket may send before the answer to the first of them. */
export const MAX_PIPELINED_REQUESTS = 32;
/** Longer than the 60 s that load balancers keep an idle connection, so that they close it and not we. */
export const KEEP_ALIVE_MS = 72_000;
/** How often sockets are checked for having taken too long. */
export const TIMEOUT_CHECK_MS = 1_000;
/** Headers of a request, in bytes. */
export const MAX_HEADER_BYTES = 16 * 1024;
/** Body of a request, in bytes. */
export const MAX_BODY_BYTES = 1024 * 1024;
/** Body of a signal from outside, in bytes: it is hashed before its sender is known. */
export const MAX_SIGNAL_BYTES = 256 * 1024;
/** A peer that was refused on a bare socket is cut off after this. */
export const REFUSED_LINGER_MS = 1_000;
/** Runtimes without a stream whose lease is remembered until it is over. Changes don't wait for those beyond. */
export const MAX_DETACHED_RUNTIMES = 50_000;
/** Drills under way at once, each of another alias. */
export const MAX_RUNNING_DRILLS = 4;
/** Records kept of an alias's drills; the oldest go first. */
export const MAX_KEPT_DRILLS = 200;
/** A drill whose runner says nothing for so long is ended, longer than its longest step. */
export const SILENT_DRILL_MS = 60_000;
