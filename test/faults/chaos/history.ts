/**
 * Everything that can be seen of a chaos run from outside, as events; the checker judges nothing else. All times are of one
 * monotonic clock, which every process of the machine reads the same.
 */

/** What the operator asks for. A reason names its request, and for a kill switch also the scope. */
export type Command =
  /** `forward` does not wait until the incident before is answered for. */
  | { readonly kind: "start" | "forward"; readonly agent: string; readonly candidate: string }
  | { readonly kind: "rollback"; readonly agent: string }
  | { readonly kind: "unlock"; readonly agent: string; readonly version: string }
  | { readonly kind: "engage" | "release"; readonly scope: string }
  | { readonly kind: "stop" }
  | { readonly kind: "bulk" }
  /** Feedback about a run, which is stored and not judged. */
  | { readonly kind: "feedback"; readonly agent: string }
  | { readonly kind: "token" }
  | { readonly kind: "webhook" }
  | { readonly kind: "removeWebhook"; readonly id: string };

export type Answer =
  | { readonly kind: "done"; readonly auditId: number; readonly revision: number }
  /** A token or webhook was made or removed: what the audit row names as its target. */
  | { readonly kind: "administered"; readonly target: string }
  /** It is stored, now or since an earlier try. */
  | { readonly kind: "stored" }
  | { readonly kind: "unchanged"; readonly revision: number }
  /** Nothing changed. `code` is the problem's. */
  | { readonly kind: "refused"; readonly code: string };

/** A run as its runtime reported it. */
export interface ReportedRun {
  readonly agent: string;
  readonly version: string;
  readonly runId: string;
  /** Its place in the batch. */
  readonly index: number;
  readonly isFailure: boolean;
}

/** Runs that a batch announces. */
export interface Announced {
  readonly agent: string;
  readonly version: string;
  readonly n: number;
}

export type ChaosEvent =
  | { readonly kind: "serverStarted"; readonly atMs: number; readonly failpoint: string | null }
  | { readonly kind: "serverEnded"; readonly atMs: number; readonly signal: string | null }
  | { readonly kind: "fault"; readonly atMs: number; readonly fault: string; readonly target: string }
  /** For the first time: what follows until `answered` repeats it under one Idempotency-Key. */
  | { readonly kind: "asked"; readonly atMs: number; readonly id: string; readonly command: Command }
  | { readonly kind: "answered"; readonly atMs: number; readonly id: string; readonly answer: Answer }
  /** The server's hello to a runtime. */
  | {
      readonly kind: "greeted";
      readonly atMs: number;
      readonly instance: string;
      readonly epoch: string;
      readonly revision: number;
      readonly through: number;
    }
  /** The runtime said that it holds the revision: by an acknowledgement, or as what it resumes from. */
  | {
      readonly kind: "applied";
      readonly atMs: number;
      readonly instance: string;
      readonly epoch: string;
      readonly revision: number;
    }
  /**
   * Reads with the same answer, of a runtime that had acknowledged `acknowledged` before each; between the first and the last
   * lies no other. Times are of the moments right before a read began.
   */
  | {
      readonly kind: "read";
      readonly runtime: number;
      readonly acknowledged: number;
      readonly version: string | null;
      readonly mayWrite: boolean;
      readonly firstMs: number;
      readonly lastMs: number;
    }
  /** A batch on its way to the server. One that is sent again comes again. */
  | {
      readonly kind: "reported";
      readonly atMs: number;
      readonly instance: string;
      readonly seq: number;
      readonly announced: readonly Announced[];
      readonly runs: readonly ReportedRun[];
    }
  /** The server said that every batch up to `through` is durable. `refused` names items of them that it did not count. */
  | {
      readonly kind: "acknowledged";
      readonly atMs: number;
      readonly instance: string;
      readonly through: number;
      readonly refused: readonly { readonly seq: number; readonly index: number; readonly code: string }[];
    }
  /** A webhook's receiver took an alert. */
  | {
      readonly kind: "alerted";
      readonly atMs: number;
      readonly id: string;
      readonly alert: string;
      readonly incident: string | null;
      readonly text: string;
    }
  /** Somebody did not come into step after everything was healed. */
  | { readonly kind: "notInStep"; readonly atMs: number; readonly who: string; readonly detail: string }
  /** An error that nobody expected: in a server's log, or out of a provider. */
  | { readonly kind: "escaped"; readonly atMs: number; readonly who: string; readonly detail: string }
  | { readonly kind: "database"; readonly atMs: number; readonly facts: DatabaseFacts };

export interface AuditRow {
  readonly id: number;
  readonly revision: number | null;
  readonly action: string;
  readonly target: string;
  readonly actor: string;
  readonly reason: string | null;
  readonly fromVersion: string | null;
  readonly toVersion: string | null;
  readonly incident: string | null;
  readonly decisionId: string | null;
}

/** What the files say between two servers. Rows that only grow in number are those since the facts before. */
export interface DatabaseFacts {
  readonly epoch: string;
  readonly audit: readonly AuditRow[];
  /** Revisions of the history's rows. */
  readonly revisions: readonly number[];
  readonly aliases: readonly {
    readonly agent: string;
    /** Versions with weight, without stable. */
    readonly exposed: readonly string[];
    readonly locked: readonly string[];
  }[];
  /** Who holds the switch engaged, and for whom. */
  readonly engaged: readonly { readonly owner: string; readonly id: string; readonly scope: string }[];
  readonly decisions: readonly { readonly id: string; readonly incident: string }[];
  readonly incidents: readonly { readonly id: string; readonly decisionId: string; readonly revision: number }[];
  /** Alerts for the webhook that stays. */
  readonly alerts: readonly { readonly id: string; readonly alert: string; readonly incident: string | null }[];
  /** Sums over all rollouts, since the beginning. */
  readonly totals: readonly {
    readonly agent: string;
    readonly version: string;
    readonly assigned: number;
    readonly settled: number;
    readonly failures: number;
  }[];
  /** Last batch of each instance. */
  readonly through: readonly { readonly instance: string; readonly seq: number }[];
  readonly runs: readonly { readonly agent: string; readonly version: string; readonly runId: string }[];
  /** Ids of the feedback that is stored. */
  readonly feedback: readonly string[];
}

/** What a run must never show; docs/testing.md says what each means. */
export const RULES = [
  "revision_went_back",
  "change_lost",
  "change_doubled",
  "outcome_lost",
  "outcome_doubled",
  "withdrawn_version_served",
  "kill_lost",
  "lease_bound_broken",
  "half_transaction",
  "audit_and_state_disagree",
  "alert_missing",
  "second_alert",
  "alert_out_of_order",
  "not_in_step",
  "escaped",
] as const;
export type Rule = (typeof RULES)[number];

export interface Violation {
  readonly rule: Rule;
  readonly detail: string;
}
