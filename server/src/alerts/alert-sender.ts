/**
 * Delivers alerts from the outbox to webhooks: at least once, oldest first, retried with backoff, dead letters kept.
 */
import type { Webhook } from "@flagback/schemas";
import type { Logger } from "pino";
import type { OutboxRow, Store } from "../store/store.ts";

/** Attempts before an alert becomes a dead letter. */
const MAX_ATTEMPTS = 10;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;
const DELIVERY_TIMEOUT_MS = 5_000;
const BATCH = 20;

export class AlertSender {
  readonly #store: Store;
  readonly #webhook: (id: string) => Webhook | undefined;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  #isWanted = false;

  constructor(parts: {
    readonly store: Store;
    readonly webhook: (id: string) => Webhook | undefined;
    readonly log: Logger;
    readonly now: () => number;
  }) {
    this.#store = parts.store;
    this.#webhook = parts.webhook;
    this.#log = parts.log;
    this.#now = parts.now;
  }

  /** There may be something to deliver: call it after each commit with alerts, and every so often for the retries. */
  wake(): void {
    this.#isWanted = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#isWanted) this.wake();
    });
  }

  /** Safe twice. What is not delivered stays in the outbox. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    this.#isWanted = false;
    if (this.#abort.signal.aborted) return;
    try {
      for (const row of await this.#store.dueAlerts(this.#now(), BATCH)) await this.#deliver(row);
    } catch (error) {
      this.#log.error({ error: (error as Error).message }, "the alert outbox can't be read");
    }
  }

  async #deliver(row: OutboxRow): Promise<void> {
    const webhook = this.#webhook(row.webhookId);
    const problem = webhook ? await this.#post(webhook.url, row) : "the webhook was removed";
    if (this.#abort.signal.aborted) return;
    if (problem === undefined) return this.#store.alertDelivered(row.id, new Date(this.#now()).toISOString());
    const retryMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** row.attempts);
    const givesUp = !webhook || row.attempts + 1 >= MAX_ATTEMPTS;
    await this.#store.alertFailed(row.id, problem, givesUp ? null : this.#now() + retryMs);
    this.#log.warn({ alert: row.id, attempts: row.attempts + 1, problem, givesUp }, "an alert was not delivered");
  }

  async #post(url: string, row: OutboxRow): Promise<string | undefined> {
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", "webhook-id": `flagback-${row.id}` },
        body: JSON.stringify(row.body),
        redirect: "error",
        signal: AbortSignal.any([this.#abort.signal, AbortSignal.timeout(DELIVERY_TIMEOUT_MS)]),
      });
      await answer.body?.cancel();
      return answer.ok ? undefined : `the webhook answered ${answer.status}`;
    } catch (error) {
      const { cause, message } = error as Error;
      return cause instanceof Error ? cause.message : message;
    }
  }
}
