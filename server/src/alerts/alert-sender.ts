/**
 * Delivers alerts from the outbox to webhooks: at least once, oldest first for each webhook, retried with backoff, dead
 * letters kept. One webhook never waits for another.
 */
import type { Webhook } from "@flagback/schemas";
import type { Logger } from "pino";
import { MAX_ALERT_RETRY_MS, type OutboxRow, type Store } from "../store/store.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { beginSpan, carrierOf, contextOf, failSpan, SpanKind } from "../telemetry/tracing.ts";
import { postAlert } from "./post-alert.ts";
import type { WebhookGuard } from "./webhook-guard.ts";

/** Attempts before an alert becomes a dead letter. */
const MAX_ATTEMPTS = 10;
const FIRST_RETRY_MS = 1_000;
const BATCH = 20;

export class AlertSender {
  readonly #store: Store;
  readonly #webhooks: ReadonlyMap<string, Webhook>;
  readonly #guard: WebhookGuard;
  readonly #metrics: Pick<Metrics, "alerts">;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #running = new Map<string, Promise<void>>();
  /** Deliveries under way; `close` ends them. */
  readonly #deliveries = new Set<AbortController>();
  #isClosed = false;

  constructor(parts: {
    readonly store: Store;
    readonly webhooks: ReadonlyMap<string, Webhook>;
    readonly guard: WebhookGuard;
    readonly metrics: Pick<Metrics, "alerts">;
    readonly log: Logger;
    readonly now: () => number;
  }) {
    this.#store = parts.store;
    this.#webhooks = parts.webhooks;
    this.#guard = parts.guard;
    this.#metrics = parts.metrics;
    this.#log = parts.log;
    this.#now = parts.now;
  }

  /** There may be something to deliver: call it after each commit with alerts, and every so often for the retries. */
  wake(): void {
    if (this.#isClosed) return;
    for (const webhook of this.#webhooks.values()) {
      if (this.#running.has(webhook.id)) continue;
      const run = this.#run(webhook).finally(() => this.#running.delete(webhook.id));
      this.#running.set(webhook.id, run);
    }
  }

  /** Safe twice. What is not delivered stays in the outbox. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const delivery of this.#deliveries) delivery.abort();
    await Promise.all(this.#running.values());
  }

  async #run(webhook: Webhook): Promise<void> {
    try {
      for (const row of await this.#store.dueAlerts(webhook.id, this.#now(), BATCH)) {
        if (this.#isClosed || !(await this.#deliver(webhook, row))) return;
      }
    } catch (error) {
      this.#log.error({ error: (error as Error).message }, "the alert outbox can't be used");
    }
  }

  async #deliver(webhook: Webhook, row: OutboxRow): Promise<boolean> {
    const problem = await this.#post(webhook.url, row);
    if (this.#isClosed && problem !== undefined) return false;
    if (problem === undefined) {
      await this.#store.alertDelivered(row.id, new Date(this.#now()).toISOString());
      this.#metrics.alerts.inc({ result: "delivered" });
      return true;
    }
    const givesUp = row.attempts + 1 >= MAX_ATTEMPTS;
    this.#metrics.alerts.inc({ result: givesUp ? "given_up" : "failed" });
    const retryMs = Math.min(MAX_ALERT_RETRY_MS, FIRST_RETRY_MS * 2 ** row.attempts);
    await this.#store.alertFailed(row.id, problem, givesUp ? null : this.#now() + retryMs);
    this.#log.warn(
      { alert: row.id, incident: row.body.incident, attempts: row.attempts + 1, problem, givesUp },
      "an alert was not delivered",
    );
    return false;
  }

  async #post(url: string, row: OutboxRow): Promise<string | undefined> {
    const delivery = new AbortController();
    this.#deliveries.add(delivery);
    const { trace, ...body } = row.body;
    const { span, context } = beginSpan(
      "flagback.alert",
      {
        kind: SpanKind.CLIENT,
        attributes: {
          "flagback.alert": row.id,
          "flagback.attempt": row.attempts + 1,
          "flagback.incident": body.incident,
        },
      },
      contextOf(trace),
    );
    try {
      const id = `flagback-${row.id}`;
      const alert = { url, id, body: JSON.stringify(body), trace: carrierOf(context) };
      const problem = await postAlert(alert, this.#guard, delivery.signal);
      if (problem !== undefined) failSpan(span, problem);
      return problem;
    } finally {
      span.end();
      this.#deliveries.delete(delivery);
    }
  }
}
