/**
 * What can be seen of one runtime from outside: what was said on its connections, and what its provider answered. The
 * checker judges such a history; the fuzz writes one.
 */
import type { RuntimeMessage, ServerMessage, Snapshot } from "@flagback/schemas";

/** Where a server stands, as the poll path says it. */
export interface PollHead {
  readonly epoch: string;
  readonly revision: number;
  readonly mark: string;
  readonly leaseMs: number;
}

export type ProviderStatus = "ready" | "stale" | "error";

/** Times are of one monotonic clock. `link` numbers the runtime's connections. */
export type RuntimeEvent =
  | { readonly kind: "opened"; readonly link: number }
  /** Sent towards the runtime, whether or not it arrives. `message` is null for what ends the link: bytes or frames that are no protocol. */
  | { readonly kind: "sent"; readonly link: number; readonly message: ServerMessage | null; readonly atMs: number }
  | { readonly kind: "heard"; readonly link: number; readonly message: RuntimeMessage; readonly atMs: number }
  /** A request on the poll path; `cursor` is what the runtime says that it holds. */
  | { readonly kind: "polled"; readonly nonce: string; readonly cursor: Cursor | null; readonly atMs: number }
  | {
      readonly kind: "pollAnswered";
      readonly nonce: string;
      readonly head: PollHead;
      readonly snapshot: Snapshot | null;
    }
  /** Its process ended and another began, with what a cache file may have kept. */
  | { readonly kind: "restarted" }
  | { readonly kind: "status"; readonly status: ProviderStatus; readonly atMs: number }
  | { readonly kind: "answered"; readonly began: Began; readonly answer: Answer }
  /** An error that came out of the provider or was nobody's, or one that the provider calls internal. */
  | { readonly kind: "escaped"; readonly where: string; readonly error: string };

export type Cursor = Pick<PollHead, "epoch" | "revision" | "mark">;

/** When an evaluation began, and what the runtime had acknowledged by then. Made by the checker. */
export interface Began {
  readonly atMs: number;
  readonly acknowledged: number;
}

export type Answer =
  /** `reason` is null where the call has none to give. */
  | { readonly kind: "version"; readonly alias: string; readonly version: string; readonly reason: string | null }
  | {
      readonly kind: "writeAllowed";
      readonly switchKey: string;
      readonly attributes: Readonly<Record<string, unknown>>;
    };

export type Rule =
  | "escaped"
  | "unsent_acknowledged"
  | "went_back"
  | "withdrawn_version"
  | "engaged_switch"
  | "without_lease"
  | "false_status"
  | "not_in_step";

export interface Violation {
  readonly rule: Rule;
  readonly detail: string;
}
