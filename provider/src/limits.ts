/**
 * The provider's own limits and times, each with its reason. What both ends must agree on lives in `@flagback/schemas`.
 */

/** How long `initialize` waits for the first snapshot and lease before it makes do without. Connecting goes on afterwards. */
export const DEFAULT_INIT_TIMEOUT_MS = 5_000;
/** How long the provider stays STALE before it is ERROR. */
export const DEFAULT_ERROR_GRACE_MS = 10_000;
/** How long `onClose` waits for outcomes to be acknowledged, and then for the cache file. */
export const DEFAULT_CLOSE_TIMEOUT_MS = 2_000;
/** The kill switch that guards writes. */
export const DEFAULT_WRITE_SWITCH = "writes_disabled";

/** From the first connect attempt's start to an open socket. */
export const CONNECT_TIMEOUT_MS = 10_000;
/** How long a socket may take to answer our close frame. */
export const CLOSE_HANDSHAKE_MS = 1_000;
/** From an open socket to the server's hello, and from the hello to its revision. */
export const SYNC_TIMEOUT_MS = 10_000;
/** Reconnect delays: full jitter from this, doubling. */
export const RECONNECT_FIRST_MS = 250;
/** The ceiling of reconnect delays in an outage's first `RECONNECT_EAGER_MS`, and after. */
export const RECONNECT_EAGER_CEILING_MS = 1_000;
export const RECONNECT_CEILING_MS = 10_000;
export const RECONNECT_EAGER_MS = 30_000;
/** A connection that lived this long ends the outage for the backoff. */
export const HEALTHY_AFTER_MS = 60_000;
/** A refused token (401, 403, close 4401) is tried again after a uniform time in this range, for ever. */
export const UNAUTHORIZED_RETRY_MIN_MS = 60_000;
export const UNAUTHORIZED_RETRY_MAX_MS = 300_000;
/** The longest delay that a server's `goodbye` or `Retry-After` can ask for. */
export const MAX_SERVER_DELAY_MS = 300_000;
/** Two heartbeats and this share of one must pass in silence before a socket is given up: pings are never on the dot. */
export const HEARTBEAT_SLACK = 0.5;
/** Heartbeat and lease that are honoured at least and at most, whatever the hello says: a zero would make a busy loop. */
export const MIN_HEARTBEAT_MS = 50;
/** With a longer one a socket whose network is gone would never be given up. */
export const MAX_HEARTBEAT_MS = 60_000;
export const MIN_LEASE_MS = 50;
export const MAX_LEASE_MS = 3_600_000;
/** The largest frame, and the largest answer on the poll path, that is accepted from the server, in bytes. */
export const MAX_SERVER_FRAME_BYTES = 64 * 1024 * 1024;

/**
 * An outage of the stream that lasts this long starts the poll path beside it: the reconnects' eager time, so that a server
 * that restarts meets no polls. A stream that looks blocked (refused or silent while something answers) starts it at once.
 */
export const POLL_AFTER_MS = 30_000;
/** The first poll waits a uniform time in this range: runtimes that lost the stream together don't poll together. */
export const POLL_START_MIN_MS = 500;
export const POLL_START_MAX_MS = 3_500;
/** From a poll's request to the end of its answer's body. */
export const POLL_TIMEOUT_MS = 10_000;
/** Polls come every third of a lease within these limits, earlier by up to this share at random. */
export const MIN_POLL_INTERVAL_MS = 200;
export const MAX_POLL_INTERVAL_MS = 5_000;
export const POLL_JITTER = 0.25;
/** Delays after failed polls: doubling between these, of which the upper half is random. */
export const POLL_RETRY_FIRST_MS = 1_000;
export const POLL_RETRY_CEILING_MS = 30_000;
/** So many failed polls in a row are a lost connection. */
export const POLL_MISSES = 2;

/** Outcomes that wait to be sent. Beyond either, the oldest is dropped and counted. */
export const DEFAULT_MAX_OUTCOMES = 20_000;
export const DEFAULT_MAX_OUTCOME_BYTES = 16 * 1024 * 1024;
/** One outcome as JSON, in bytes. A larger one goes without its metrics and attributes. */
export const MAX_OUTCOME_BYTES = 16 * 1024;
/**
 * The smallest frame limit of a server that is honoured: a frame of this size carries any outcome without metrics and
 * attributes (5 KiB at most, by the schema's limits) and its assignment. Less would leave outcomes that can never be sent.
 */
export const MIN_FRAME_BYTES = 8 * 1024;
/** Batches on their way at once. */
export const MAX_BATCHES_IN_FLIGHT = 4;
/** How long an assignment waits for company before it is announced; the protocol allows 250 ms. */
export const ANNOUNCE_WITHIN_MS = 100;
/** How long an outcome waits for company. */
export const OUTCOME_WITHIN_MS = 5;
/** The longest pause between batches that a server can ask for. */
export const MAX_SLOW_DOWN_MS = 10_000;
/** Runs whose assignment is remembered until their outcome is durable, to announce it again to a restored server. */
export const MAX_OPEN_ASSIGNMENTS = 100_000;
/** Runs that are watched for passing a latency limit. The latency of those beyond it is judged by their outcome alone. */
export const MAX_WATCHED_RUNS = 100_000;
/** Targeting keys whose last evaluations are remembered for `track`, at most twice this. */
export const MAX_ATTRIBUTED_KEYS = 10_000;
/** Evaluations that are noted before they are sorted by targeting key. */
export const MAX_ATTRIBUTION_NOTES = 16_384;
/** Run ids of one generation that are remembered to keep them unique, at most twice this. */
export const MAX_REMEMBERED_RUN_IDS = 10_000;
/** Distinct problems of one topic that are logged. What comes after them is not, and the log says that it isn't. */
export const MAX_LOGGED_PROBLEMS = 50;
/** Characters of a run's token. Pins that don't fit are left out of it. */
export const MAX_RUN_TOKEN_LENGTH = 4_096;
/** Limits of a `baggage` header, as the specification has them for what every party must pass on (W3C Baggage, 3.3.2). */
export const MAX_BAGGAGE_MEMBERS = 64;
export const MAX_BAGGAGE_BYTES = 8_192;
/** Characters of an id or an attribute that goes into a header, or is taken from one. */
export const MAX_BAGGAGE_VALUE_LENGTH = 1_024;
/** Attributes of a run's context that go into a header. */
export const MAX_BAGGAGE_SCOPE_ATTRIBUTES = 16;
/** How often feedback is sent before it is given up, how long one attempt may take, and the waits between: full jitter, doubling. */
export const FEEDBACK_ATTEMPTS = 5;
export const FEEDBACK_ATTEMPT_MS = 5_000;
export const FEEDBACK_FIRST_DELAY_MS = 500;
/** The longest wait, also where the server asks for more. */
export const FEEDBACK_MAX_DELAY_MS = 4_000;
/** An answer to feedback names what was refused, item by item. */
export const MAX_FEEDBACK_ANSWER_BYTES = 64 * 1024;

/** The cache file, which holds as much as one frame of the server can bring. More is not written, and not read. */
export const MAX_CACHE_BYTES = 64 * 1024 * 1024;
/** How long the first connection attempt waits for the cache file to be read. */
export const CACHE_READ_TIMEOUT_MS = 1_000;
/** Turns that a wait for the cache file is made of. A pause of the process, however long, costs one. */
export const CACHE_WAIT_TURNS = 10;
/** A burst of changes is written to the cache file once in this time; a change after a quiet time at once. */
export const CACHE_WRITE_INTERVAL_MS = 1_000;
/** How long the cache file is left alone after it could not be written. */
export const CACHE_RETRY_MS = 60_000;
/** Characters of the cache file that are written in one go, give or take a document. */
export const CACHE_CHUNK_LENGTH = 256 * 1024;
/** A temporary file that nobody has written to for this long belongs to a process that died. */
export const LEFTOVER_AFTER_MS = 60_000;
/** Leftovers that are removed at a start, and entries of the folder that are looked at for them. */
export const MAX_LEFTOVERS_REMOVED = 100;
export const MAX_CACHE_FOLDER_ENTRIES = 10_000;
