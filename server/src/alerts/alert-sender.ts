/**
 * Delivers alerts from the outbox to webhooks: at least once, in order for each incident, retried with backoff, dead letters
 * kept. One webhook never waits for another.
 */
import type { Logger } from "pino";
import { signedHeaders } from "../auth/standard-webhooks.ts";
import type { OutboxAlert, OutboxRow } from "../store/outbox.ts";
import type { Store, StoredWebhook } from "../store/store.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { beginSpan, carrierOf, contextOf, failSpan, SpanKind } from "../telemetry/tracing.ts";
import { deliveryId } from "./delivery-id.ts";
import type { Fact } from "./fact.ts";
import { payloadOf } from "./payload.ts";
import type { AlertRequest } from "./post-alert.ts";
import { nextAttemptMs } from "./retry-plan.ts";

const BATCH = 20;

/** Sends one request. Answers what went wrong, and `undefined` where the alert was taken. */
export type Post = (request: AlertRequest, signal: AbortSignal) => Promise<string | undefined>;

/** The link by which a webhook's readers answer a decision, while it is open; none where the server has no public address. */
type LinkOf = (decision: string, round: number, webhook: string) => string | undefined;

export class AlertSender {
  readonly #store: Pick<Store, "dueAlerts" | "alertDelivered" | "alertFailed">;
  readonly #webhooks: ReadonlyMap<string, StoredWebhook>;
  readonly #post: Post;
  readonly #metrics: Pick<Metrics, "alerts">;
  readonly #log: Pick<Logger, "warn" | "error">;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #linkOf: LinkOf;
  readonly #running = new Map<string, Promise<void>>();
  /** Deliveries under way; `close` ends them. */
  readonly #deliveries = new Set<AbortController>();
  #isClosed = false;

  constructor(parts: {
    readonly store: Pick<Store, "dueAlerts" | "alertDelivered" | "alertFailed">;
    readonly webhooks: ReadonlyMap<string, StoredWebhook>;
    readonly post: Post;
    readonly metrics: Pick<Metrics, "alerts">;
    readonly log: Pick<Logger, "warn" | "error">;
    readonly now: () => number;
    /** Uniform in [0, 1). */
    readonly random: () => number;
    readonly linkOf?: LinkOf;
  }) {
    this.#store = parts.store;
    this.#webhooks = parts.webhooks;
    this.#post = parts.post;
    this.#metrics = parts.metrics;
    this.#log = parts.log;
    this.#now = parts.now;
    this.#random = parts.random;
    this.#linkOf = parts.linkOf ?? (() => undefined);
  }

  /** There may be something to deliver: call it after each commit with alerts, and every so often for the retries. */
  wake(): void {
    if (this.#isClosed) return;
    for (const { id } of this.#webhooks.values()) {
      if (this.#running.has(id)) continue;
      const run = this.#run(id).finally(() => this.#running.delete(id));
      this.#running.set(id, run);
    }
  }

  /** Sends something that nobody need know, now and once. Answers what went wrong. */
  test(webhook: StoredWebhook, id: string): Promise<string | undefined> {
    const alert: OutboxAlert = { kind: "test", text: `A test: alerts of flagback reach ${webhook.id}.` };
    return this.#send(webhook, id, { ...alert, timestamp: new Date(this.#now()).toISOString() }, {});
  }

  /** Safe twice. What is not delivered stays in the outbox. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const delivery of this.#deliveries) delivery.abort();
    await Promise.all(this.#running.values());
  }

  /** Goes on while something is due: each that is delivered lets the next of its incident go. */
  async #run(webhookId: string): Promise<void> {
    try {
      for (;;) {
        const rows = await this.#store.dueAlerts(webhookId, this.#now(), BATCH);
        if (rows.length === 0) return;
        for (const row of rows) {
          const webhook = this.#webhooks.get(webhookId);
          if (this.#isClosed || !webhook || !(await this.#deliver(webhook, row))) return;
        }
      }
    } catch (error) {
      this.#log.error({ error: (error as Error).message }, "the alert outbox can't be used");
    }
  }

  async #deliver(webhook: StoredWebhook, row: OutboxRow): Promise<boolean> {
    const problem = await this.#attempt(webhook, row);
    if (this.#isClosed && problem !== undefined) return false;
    const nowMs = this.#now();
    if (problem === undefined) {
      await this.#store.alertDelivered(row.id, new Date(nowMs).toISOString());
      this.#metrics.alerts.inc({ result: "delivered" });
      return true;
    }
    const attempts = row.attempts + 1;
    const nextAtMs = nextAttemptMs({ attempts, retryUntilMs: row.retryUntilMs }, nowMs, this.#random());
    const givesUp = nextAtMs === null;
    this.#metrics.alerts.inc({ result: givesUp ? "given_up" : "failed" });
    await this.#store.alertFailed(row.id, problem, nextAtMs);
    this.#log.warn(
      { alert: row.id, webhook: webhook.id, incident: row.body.incident, attempts, problem, givesUp },
      "an alert was not delivered",
    );
    return false;
  }

  async #attempt(webhook: StoredWebhook, row: OutboxRow): Promise<string | undefined> {
    const { trace, ...alert } = row.body;
    const { span, context } = beginSpan(
      "flagback.alert",
      {
        kind: SpanKind.CLIENT,
        attributes: {
          "flagback.alert": row.id,
          "flagback.attempt": row.attempts + 1,
          "flagback.incident": alert.incident,
        },
      },
      contextOf(trace),
    );
    try {
      const fact = this.#withLink({ ...alert, timestamp: row.createdAt }, webhook.id);
      const problem = await this.#send(webhook, deliveryId(row.id), fact, carrierOf(context) ?? {});
      if (problem !== undefined) failSpan(span, problem);
      return problem;
    } finally {
      span.end();
    }
  }

  async #send(
    webhook: StoredWebhook,
    id: string,
    fact: Fact,
    trace: Readonly<Record<string, string>>,
  ): Promise<string | undefined> {
    const delivery = new AbortController();
    this.#deliveries.add(delivery);
    try {
      const body = JSON.stringify(payloadOf(webhook, fact));
      const secrets = liveSecrets(webhook, this.#now());
      const signature =
        secrets.length === 0 ? {} : signedHeaders({ id, atSeconds: Math.floor(this.#now() / 1_000), body }, secrets);
      const headers = { ...signature, ...trace };
      return await this.#post({ url: webhook.url, id, body, headers }, delivery.signal);
    } finally {
      this.#deliveries.delete(delivery);
    }
  }

  /** The link is made for its one webhook, and kept nowhere; in the text as well, because that is what chat tools show. */
  #withLink(fact: Fact, webhook: string): Fact {
    const { kind, decision, round } = fact;
    if (kind !== "approval" || decision === undefined || round === undefined) return fact;
    const link = this.#linkOf(decision, round, webhook);
    return link === undefined ? fact : { ...fact, text: `${fact.text} Answer here: ${link}`, link };
  }
}

/** The newest, and the one before for as long as receivers may still know only that. */
function liveSecrets({ secrets }: StoredWebhook, nowMs: number): string[] {
  return secrets.filter(({ until }) => until === undefined || nowMs < Date.parse(until)).map(({ secret }) => secret);
}
