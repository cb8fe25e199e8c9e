/**
 * What the connection's state machine knows, is told, and asks for.
 */
import type { Cursor, Delta, RuntimeMessage, ServerMessage, Snapshot } from "@flagback/schemas";
import type { Instant } from "../clock.ts";
import type { Lease } from "./lease.ts";

export type ServerHello = Extract<ServerMessage, { type: "hello" }>;
type OutcomesAck = Extract<ServerMessage, { type: "outcomesAck" }>;

/** The provider's status, in OpenFeature's words. `not_ready` ends with the first `ready` and never comes back. */
export type Status = "not_ready" | "ready" | "stale" | "error";

export interface ConnectionSettings {
  readonly instance: string;
  readonly sdk: string;
  /** Random text of this process: an answer to a poll of another process never looks like one of ours. */
  readonly pollNonce: string;
  readonly errorGraceMs: number;
}

/** What the link is doing. `connection` numbers the sockets, so that a dead one's late events are known as such. */
export type Link =
  | { readonly kind: "idle" }
  | { readonly kind: "waiting"; readonly untilMs: number }
  | { readonly kind: "connecting"; readonly connection: number; readonly deadlineMs: number }
  | { readonly kind: "greeting"; readonly connection: number; readonly deadlineMs: number; readonly openedMs: number }
  | StreamingLink;

export interface StreamingLink {
  readonly kind: "streaming";
  readonly connection: number;
  readonly openedMs: number;
  readonly hello: ServerHello;
  readonly lastHeardMs: number;
  /** Whether we hold at least the revision of the hello. */
  readonly synced: boolean;
  readonly syncDeadlineMs: number;
  readonly nextAskMs: number;
  /** Lease asks without an answer on this connection. */
  readonly asked: ReadonlyMap<number, Instant>;
  /** An answer was void because we did not hold its revision yet: ask again once we do, and start anew if we never do. */
  readonly behind: { readonly revision: number; readonly deadlineMs: number } | null;
}

/** Time without a connection that was in step, and the attempts since one was healthy. */
export interface Outage {
  readonly sinceMs: number;
  readonly attempts: number;
  /** Something answers, but it lets no stream through. */
  readonly looksBlocked: boolean;
  /** The server asked to be left alone until then. */
  readonly quietUntilMs: number;
}

/** The way beside the stream (DESIGN 6). `off` while the stream is in step, and until it is known to be missing. */
export type Poll = { readonly kind: "off" } | WaitingPoll | AskingPoll;

interface Polling {
  /** The last polls brought us into step with the server. */
  readonly isInStep: boolean;
  /** Failed polls in a row. */
  readonly misses: number;
}

export interface WaitingPoll extends Polling {
  readonly kind: "waiting";
  readonly untilMs: number;
}

/** One request is under way. Only its own answer counts, known by the nonce. */
export interface AskingPoll extends Polling {
  readonly kind: "asking";
  readonly nonce: string;
  readonly asked: Instant;
  readonly deadlineMs: number;
  /** What we held, and what the stream had said, when we asked. */
  readonly cursor: Cursor | null;
  readonly hello: ServerHello | null;
}

export interface ConnectionState {
  readonly settings: ConnectionSettings;
  readonly link: Link;
  readonly status: Status;
  readonly staleSinceMs: number;
  /** What we hold; null before the first snapshot. */
  readonly cursor: Cursor | null;
  /** What we hold can't be continued from: the next hello asks for a whole snapshot. */
  readonly mustResync: boolean;
  readonly lease: Lease | null;
  /** When the server told us to come back, said by its goodbye. */
  readonly goodbye: { readonly retryAfterMs: number; readonly spreadMs: number } | null;
  readonly outage: Outage | null;
  readonly poll: Poll;
  /** We held documents when we started: from the cache, or from before a close. */
  readonly heldAtStart: boolean;
  /** Whoever waits for us to be ready has waited long enough. */
  readonly isOverdue: boolean;
  readonly connections: number;
  readonly leaseIds: number;
  readonly polls: number;
  /** The monotonic clock at the last step. */
  readonly seenMs: number;
}

/** Why a socket ended. `code` is the WebSocket close code, `httpStatus` the answer to a refused upgrade. */
export interface SocketEnd {
  readonly code?: number;
  readonly httpStatus?: number;
  /** The answer is a problem document, as a flagback server gives, and not that of something in between. */
  readonly isProblem?: boolean;
  readonly retryAfterMs?: number;
  /** Nothing came in time. */
  readonly isTimeout?: boolean;
  readonly detail: string;
}

/** What became of a poll's request. */
export type PollResult =
  | {
      readonly kind: "response";
      readonly status: number;
      /** By lower-case name. */
      readonly headers: Readonly<Record<string, string | undefined>>;
      readonly text: string;
    }
  | { readonly kind: "failure"; readonly detail: string };

/** Documents that a process before us held. */
export interface Restored {
  readonly cursor: Cursor;
  /** Whether the server may continue from the cursor; else it sends everything. */
  readonly canResume: boolean;
}

export type ConnectionInput =
  | { readonly kind: "start"; readonly restored?: Restored }
  | { readonly kind: "opened"; readonly connection: number }
  | { readonly kind: "frame"; readonly connection: number; readonly text: string }
  | { readonly kind: "ping"; readonly connection: number }
  | { readonly kind: "ended"; readonly connection: number; readonly end: SocketEnd }
  | { readonly kind: "polled"; readonly nonce: string; readonly result: PollResult }
  | { readonly kind: "tick" }
  /** `initialize` has waited as long as it may. */
  | { readonly kind: "overdue" }
  /** An effect could not be carried out: what we hold is not what the state says. */
  | { readonly kind: "failed"; readonly detail: string }
  | { readonly kind: "stop" };

export type ConnectionEffect =
  | { readonly kind: "connect"; readonly connection: number }
  | { readonly kind: "send"; readonly message: RuntimeMessage }
  /** Close the socket; nothing it says afterwards counts. */
  | { readonly kind: "hangUp"; readonly connection: number; readonly code: number; readonly reason: string }
  /** Ask the poll path for what is newer than the cursor, and for a lease. One request at a time. */
  | { readonly kind: "poll"; readonly nonce: string; readonly cursor: Cursor | null }
  | { readonly kind: "abandonPoll" }
  /** Swap the held documents, in one step. */
  | { readonly kind: "swap"; readonly change: Snapshot | Delta }
  /** Follows its swap: say `applied`, with the time since `receivedMs`. */
  | { readonly kind: "acknowledge"; readonly revision: number; readonly receivedMs: number }
  | { readonly kind: "status"; readonly status: Status; readonly detail: string }
  /** The server has a durable count of our batches: resend from there. */
  | { readonly kind: "resumeOutcomes"; readonly through: number; readonly limits: ServerHello["limits"] }
  | { readonly kind: "ackOutcomes"; readonly ack: OutcomesAck }
  | { readonly kind: "holdOutcomes"; readonly end: SocketEnd }
  | { readonly kind: "refused"; readonly httpStatus: number }
  | { readonly kind: "problem"; readonly level: "warn" | "error"; readonly key: string; readonly message: string };

export interface Step {
  readonly state: ConnectionState;
  readonly effects: readonly ConnectionEffect[];
}
