/**
 * Alerts on their way to webhooks. They are put in by the change that raises them.
 */
import type Database from "better-sqlite3";
import type { Writes } from "./sqlite-writes.ts";
import { type LastDelivery, MAX_ALERT_RETRY_MS, type OutboxRow, type Store } from "./store.ts";

type Outbox = {
  [Call in "dueAlerts" | "alertDelivered" | "alertFailed" | "lastDelivery" | "outboxDepth"]: (
    ...args: Parameters<Store[Call]>
  ) => Awaited<ReturnType<Store[Call]>>;
};

export function outboxStore(database: Database.Database, writes: Writes): Outbox {
  const sql = (text: string) => database.prepare(text);
  // One that is due later than any retry was planned by a clock that has been set back since.
  const due = sql(`SELECT id, body, attempts FROM outbox WHERE webhook_id = :webhookId AND next_at_ms IS NOT NULL
    AND (next_at_ms <= :nowMs OR next_at_ms > :nowMs + ${MAX_ALERT_RETRY_MS}) ORDER BY id LIMIT :limit`);
  const delivered = sql("UPDATE outbox SET delivered_at = ?, next_at_ms = NULL, attempts = attempts + 1 WHERE id = ?");
  // Of a webhook that was removed meanwhile nothing is delivered any more.
  const failed = sql(`UPDATE outbox SET last_error = ?, next_at_ms = ?, attempts = attempts + 1
    WHERE id = ? AND next_at_ms IS NOT NULL`);
  const last = sql(`SELECT delivered_at AS deliveredAt, CASE WHEN delivered_at IS NULL THEN last_error END AS problem
    FROM outbox WHERE webhook_id = ? AND attempts > 0 ORDER BY id DESC LIMIT 1`);
  const depth = sql("SELECT count(*) FROM outbox WHERE next_at_ms IS NOT NULL").pluck();
  return {
    dueAlerts: (webhookId, nowMs, limit) =>
      (due.all({ webhookId, nowMs, limit }) as { id: number; body: string; attempts: number }[]).map((row) => ({
        ...row,
        body: JSON.parse(row.body) as OutboxRow["body"],
      })),
    alertDelivered: writes.make("alert", (id, at) => {
      delivered.run(at, id);
    }),
    alertFailed: writes.make("alert", (id, error, nextAtMs) => {
      failed.run(error, nextAtMs, id);
    }),
    lastDelivery: (webhookId) => last.get(webhookId) as LastDelivery | undefined,
    outboxDepth: () => depth.get() as number,
  };
}
