/**
 * The store's port: what the engine needs to keep, in its own words. Everything that must not be half done is one call.
 * Calls reject with FlagbackError `database_unavailable` where the disk refuses; then nothing of that call was written.
 */

import type { CheckedAlias, Counts, Removed } from "@flagback/core";
import type {
  AlertDelivery,
  Alias,
  AskedDecision,
  AuditEvent,
  Decision,
  Drill,
  FeedbackSummary,
  Flag,
  Incident,
  IncidentSnapshot,
  KillSwitch,
  Release,
  RuntimeDocument,
  StoredFeedback,
  Token,
  Trigger,
  Version,
  Webhook,
} from "@flagback/schemas";
import type { AssignmentRow, InstanceRow, LedgerWrites, RolloutKey, RunsRow } from "./ledger-writes.ts";
import type { Delivery, DeliveryQuery, LastDelivery, OutboxAlert, OutboxRow } from "./outbox.ts";

/** One revision in the history of what runtimes see. */
export interface HistoryEntry {
  readonly revision: number;
  readonly mark: string;
  /** Documents that the revision touched. */
  readonly touched: readonly { readonly kind: RuntimeDocument["kind"]; readonly key: string }[];
}

export interface StoredToken extends Token {
  /** SHA-256 of the secret, in hex. */
  readonly secretHash: string;
}

/** A webhook with what nobody is shown. */
export interface StoredWebhook extends Webhook {
  /** Secrets that alerts are signed with, the newest first; one with `until` only up to that moment. */
  readonly secrets: readonly { readonly secret: string; readonly until?: string }[];
  /** PagerDuty's integration key. */
  readonly routingKey?: string;
}

/** How a decision was reached and carried out, for its incident. Milliseconds. */
export interface Timings {
  /** From when the evidence began to rise to the arrival of the batch that completed it; null where a person rolled back. */
  readonly detectMs: number | null;
  /** From the arrival of the batch that completed the evidence to the verdict. */
  readonly decideMs: number | null;
  /** The transaction. */
  readonly commitMs: number;
}

export interface StoredIncident {
  readonly incident: Incident;
  readonly timings: Timings;
  /** Candidate outcomes counted when the decision was made; null for a manual stop. */
  readonly outcomesToDecision: number | null;
  /** Read where one incident is asked for. */
  readonly snapshot?: IncidentSnapshot;
}

/** Names a request that its sender may repeat. */
export interface RequestKey {
  readonly tokenId: string;
  /** Its `Idempotency-Key`. */
  readonly key: string;
  /** Hash of method, path and body: the same key with another one is another request. */
  readonly bodyHash: string;
}

/** A request with what its repeats are answered: JSON, and without secrets. */
export interface AnsweredRequest extends RequestKey {
  readonly answer: unknown;
}

/** What belongs to a write that changes no documents. */
export interface WriteRecord {
  readonly audit: Omit<AuditEvent, "id">;
  readonly idempotency?: AnsweredRequest;
}

/** A change with everything that belongs to it. */
export interface Commit {
  readonly at: string;
  readonly aliases: readonly Alias[];
  readonly versions: readonly Version[];
  readonly killSwitches: readonly KillSwitch[];
  readonly flags: readonly Flag[];
  readonly triggers: readonly Trigger[];
  readonly releases: readonly Release[];
  /** Of an alias the number of its last rollout stays. */
  readonly deleted: readonly Removed[];
  readonly history?: HistoryEntry;
  /** One row, or one for each part of a change that has several. */
  readonly audit: readonly Omit<AuditEvent, "id">[];
  /** Rollbacks that the change carries out. */
  readonly stops: readonly (Omit<StoredIncident, "timings"> &
    Omit<Timings, "commitMs"> & { readonly decision: Decision })[];
  /** Incidents that were there before. */
  readonly incidents: readonly Incident[];
  /** Decisions that people are asked for, as they are now. */
  readonly asked: readonly AskedDecision[];
  readonly alerts: readonly OutboxAlert[];
  readonly idempotency?: AnsweredRequest;
  readonly ledger: LedgerWrites;
}

/** What is dropped once it is over and past its term. `requests` are answers kept for an `Idempotency-Key`. */
export type Prunable = "audit" | "incidents" | "alerts" | "feedback" | "requests" | "rollouts";

/** Drops the oldest `rows` at most. What is not over the caller names: it is known in memory, and would cost a scan here. */
export type PruneStep =
  | { readonly what: "audit" | "alerts" | "feedback" | "requests"; readonly before: string; readonly rows: number }
  /** Incidents with their decisions, and decisions that people were asked for, but for those in `except`; then alerts that nobody took. */
  | { readonly what: "incidents"; readonly before: string; readonly except: readonly string[]; readonly rows: number }
  /** Counts of an alias's rollouts up to the one of number `through`, but for those in `except`. */
  | {
      readonly what: "rollouts";
      readonly alias: string;
      readonly through: number;
      readonly except: readonly number[];
      readonly rows: number;
    };

export interface Pruned {
  /** How many went; fewer than it might have been means that nothing is left. */
  readonly rows: number;
  /** Of the incidents, and the decisions that people were asked for, among them. */
  readonly ids: readonly string[];
}

export interface PropagationRow {
  readonly revision: number;
  readonly switchStatus: string;
}

/** Everything that a start needs. */
export interface Loaded {
  readonly epoch: string;
  readonly aliases: readonly Alias[];
  readonly versions: readonly Version[];
  readonly killSwitches: readonly KillSwitch[];
  readonly flags: readonly Flag[];
  readonly decisions: readonly { readonly id: string; readonly incident: string }[];
  readonly incidents: readonly Incident[];
  readonly asked: readonly AskedDecision[];
  readonly releases: readonly Release[];
  /** Of aliases that were removed. */
  readonly lastRolloutNumbers: readonly { readonly alias: string; readonly rolloutNumber: number }[];
  /** The last entries, oldest first. */
  readonly history: readonly HistoryEntry[];
  readonly tokens: readonly StoredToken[];
  readonly webhooks: readonly StoredWebhook[];
  readonly triggers: readonly Trigger[];
  readonly checks: readonly CheckedAlias[];
  /** Oldest first. */
  readonly drills: readonly Drill[];
  readonly tick: number;
  readonly instances: readonly InstanceRow[];
  readonly assignments: readonly AssignmentRow[];
  readonly ledgers: LedgerWrites["ledgers"];
  readonly totals: LedgerWrites["totals"];
  readonly counts: LedgerWrites["counts"];
  /** The last runs, oldest first: as many as were asked for, or somewhat more. */
  readonly runs: readonly RunsRow[];
}

export interface AuditQuery {
  readonly after?: number;
  readonly limit: number;
  readonly target?: string;
  readonly decisionId?: string;
}

/** Which feedback is asked for, newest first. */
export interface FeedbackQuery {
  readonly alias?: string;
  readonly version?: string;
  readonly runId?: string;
  /** Only what came before the one of this number. */
  readonly before?: number;
  readonly limit: number;
}

export interface NumberedFeedback extends StoredFeedback {
  /** Grows with each that comes. */
  readonly number: number;
}

/** What both arms of a rollout counted in a tick of which nothing more is to come. */
export interface FrozenTick {
  readonly tick: number;
  readonly candidate: Counts;
  readonly stable: Counts;
}

/** Ticks after the one, up to and including the other. */
export interface TickPage {
  readonly after?: number;
  readonly through?: number;
  readonly limit: number;
}

export interface Store {
  load(limits: { readonly history: number; readonly runs: number }): Loaded;
  /** Writes a change, all or nothing. Answers the first audit row's id and how long the transaction took. */
  commit(commit: Commit): Promise<{ readonly auditId: number; readonly commitMs: number }>;
  /** Makes counts durable. Answers how long the disk took for it, in milliseconds, without the rows. */
  writeLedger(writes: LedgerWrites): Promise<number>;
  appendAudit(row: Omit<AuditEvent, "id">): Promise<number>;
  writePropagation(rows: readonly PropagationRow[]): Promise<void>;
  readAudit(query: AuditQuery): Promise<AuditEvent[]>;
  /** The answer to an earlier request with this key, and the audit row that was written with it. */
  findIdempotent(
    tokenId: string,
    key: string,
  ): Promise<{ readonly bodyHash: string; readonly answer: unknown; readonly auditId: number | null } | undefined>;
  /** Keeps the answer to a request that wrote nothing. */
  putIdempotent(request: AnsweredRequest, at: string): Promise<void>;
  readIncidents(id?: string): Promise<StoredIncident[]>;
  readDecision(id: string): Promise<Decision | undefined>;
  /** The sums of the frozen ticks of a rollout that are still kept, ascending. */
  frozenTicks(rollout: RolloutKey, page: TickPage): Promise<FrozenTick[]>;
  /** Replaces the counts of an alias's synthetic checks. */
  putChecks(checks: CheckedAlias): Promise<void>;
  /** Stores what is new, all or nothing. Answers how much was known by its id, and how much old feedback had to go. */
  putFeedback(feedback: readonly StoredFeedback[]): Promise<{ readonly duplicates: number; readonly dropped: number }>;
  readFeedback(query: FeedbackQuery): Promise<NumberedFeedback[]>;
  /** What was said about each version of an alias that anything was said about, by the version's id. */
  feedbackSummaries(alias: string): Promise<FeedbackSummary[]>;
  /** The key that links are signed with, in hex; made at the first call. It is in no backup. */
  linkKey(): Promise<string>;
  putToken(token: StoredToken, record?: WriteRecord): Promise<void>;
  /** Makes a webhook, or replaces it. */
  putWebhook(webhook: StoredWebhook, record: WriteRecord): Promise<void>;
  deleteWebhook(id: string, record: WriteRecord): Promise<boolean>;
  /** Keeps a drill's record as it is now, and drops those of the numbers that are too many. */
  putDrill(drill: Drill, tooMany?: readonly number[]): Promise<void>;
  /** What became of the alerts about an incident, in the order they were raised. */
  alertsOf(incident: string): Promise<AlertDelivery[]>;
  /**
   * A webhook's rows to deliver now, oldest first, also those whose time was planned by a clock that was set back since. Of
   * one incident, or of one alias without an incident, only the oldest that is neither delivered nor given up.
   */
  dueAlerts(webhookId: string, nowMs: number, limit: number): Promise<OutboxRow[]>;
  alertDelivered(id: number, at: string): Promise<void>;
  /** `nextAtMs` null gives up: the row stays as a dead letter, as do those of a webhook that was removed meanwhile. */
  alertFailed(id: number, error: string, nextAtMs: number | null): Promise<void>;
  /** What became of the webhook's alert that has to be tried again, or else of its newest that was tried; undefined before the first. */
  lastDelivery(webhookId: string): Promise<LastDelivery | undefined>;
  /** Alerts that wait, and those that were given up. */
  outboxDepth(): Promise<number>;
  deadLetters(): Promise<number>;
  /** What became of a webhook's alerts, newest first. */
  readDeliveries(query: DeliveryQuery): Promise<Delivery[]>;
  /** Lets dead letters wait again: all of the webhook, or the one of this id. Answers how many, and records nothing for none. */
  redeliver(
    what: { readonly webhookId: string; readonly id?: number },
    nowMs: number,
    record: WriteRecord,
  ): Promise<number>;
  /** An alert that waits never goes. */
  prune(step: PruneStep): Promise<Pruned>;
  /** Writes so many bytes that nobody needs, to see whether it can. */
  probe(bytes: number): Promise<void>;
  /** Copies all that is committed into a file that must not be there. */
  copyTo(file: string): Promise<void>;
  /** What the database takes on the disk, with its journal. */
  sizeBytes(): Promise<number>;
  /** Room left where the database is. */
  freeBytes(): Promise<number>;
  close(): void;
}
