/**
 * What the routes need of the server, and how each is told who asks.
 */
import type { Actor, Token } from "@flagback/schemas";
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { AlertSender } from "../alerts/alert-sender.ts";
import type { WebhookGuard } from "../alerts/webhook-guard.ts";
import type { Tokens } from "../auth/tokens.ts";
import type { DecisionLinks } from "../decisions/decision-links.ts";
import type { DrillBook } from "../drills/drill-book.ts";
import type { Engine } from "../engine/engine.ts";
import type { Evaluator } from "../evaluator/evaluator.ts";
import type { FeedbackBook } from "../feedback/feedback-book.ts";
import type { GroupCommit } from "../ledger/group-commit.ts";
import type { LedgerBook } from "../ledger/ledger-book.ts";
import type { RecoveryWatch } from "../recovery/recovery-watch.ts";
import type { Backups } from "../store/backup.ts";
import type { DiskHealth } from "../store/disk-health.ts";
import type { Store, StoredWebhook } from "../store/store.ts";
import type { Hub } from "../stream/hub.ts";
import type { SyntheticChecks } from "../synthetic/synthetic-checks.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { SignalAudit } from "../triggers/signal-audit.ts";
import type { AuditSignal } from "./audit-signal.ts";
import type { HeldRequests } from "./held-requests.ts";

/** Fastify with zod schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

export interface ServerContext {
  readonly engine: Engine;
  readonly store: Store;
  readonly health: DiskHealth;
  readonly backups: Backups;
  readonly book: LedgerBook;
  readonly evaluator: Evaluator;
  readonly groupCommit: GroupCommit;
  readonly feedback: FeedbackBook;
  readonly synthetic: SyntheticChecks;
  readonly hub: Hub;
  readonly recovery: RecoveryWatch;
  readonly drills: DrillBook;
  readonly tokens: Tokens;
  readonly webhooks: Map<string, StoredWebhook>;
  readonly alerts: Pick<AlertSender, "test" | "wake">;
  readonly webhookGuard: WebhookGuard;
  readonly signalAudit: SignalAudit;
  /** None where the server knows no address that a link could begin with. */
  readonly links: DecisionLinks | undefined;
  readonly metrics: Metrics;
  /** So many reported outcomes are counted, and are told as accepted once they are durable. */
  readonly noteAccepted: (outcomes: number) => void;
  /** The metrics in Prometheus' text format. */
  readonly scrape: () => Promise<string>;
  readonly now: () => number;
  readonly auditSignal: AuditSignal;
  readonly held: HeldRequests;
  readonly leaseMs: number;
}

export function actorOf(token: Token): Actor {
  return { kind: "token", name: token.name, id: token.id };
}
