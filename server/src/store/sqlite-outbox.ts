/**
 * Alerts on their way to webhooks. They are put in by the change that raises them.
 */
import type { AlertDelivery } from "@flagback/schemas";
import type Database from "better-sqlite3";
import {
  type Delivery,
  type DeliveryState,
  type LastDelivery,
  MAX_ALERT_RETRY_MS,
  type OutboxAlert,
  RETRY_ALERTS_FOR_MS,
} from "./outbox.ts";
import type { Writes } from "./sqlite-writes.ts";
import type { Store, WriteRecord } from "./store.ts";

type Outbox = {
  [Call in
    | "dueAlerts"
    | "alertDelivered"
    | "alertFailed"
    | "alertsOf"
    | "lastDelivery"
    | "outboxDepth"
    | "deadLetters"
    | "readDeliveries"
    | "redeliver"]: (...args: Parameters<Store[Call]>) => Awaited<ReturnType<Store[Call]>>;
} & {
  /** Puts an alert in for each webhook; within the change's transaction. */
  readonly put: (alert: OutboxAlert, at: string) => void;
};

const STATES: Readonly<Record<DeliveryState, string>> = {
  waiting: "next_at_ms IS NOT NULL",
  delivered: "delivered_at IS NOT NULL",
  dead: "next_at_ms IS NULL AND delivered_at IS NULL",
};
/**
 * Delivered rows are kept for weeks, and there are few others. Left to itself SQLite takes the index of all of a webhook's
 * rows, which are in the order asked for, and walks the delivered ones to the end.
 */
const INDEXES: Readonly<Record<DeliveryState, string>> = {
  waiting: "outbox_in_order",
  delivered: "outbox_by_webhook",
  dead: "outbox_dead",
};

export function outboxStore(
  database: Database.Database,
  writes: Writes,
  insertRecord: (record: WriteRecord) => void,
): Outbox {
  const sql = (text: string) => database.prepare(text);
  const put = sql(`INSERT INTO outbox (webhook_id, body, created_at, next_at_ms, topic, retry_until_ms)
    SELECT key, :body, :at, 0, :topic, :retryUntilMs FROM documents WHERE kind = 'webhook'`);
  // One that is due later than any retry was planned by a clock that has been set back since.
  const due = sql(`SELECT id, body, created_at AS createdAt, attempts, coalesce(retry_until_ms, 0) AS retryUntilMs
    FROM outbox INDEXED BY ${INDEXES.waiting} WHERE webhook_id = :webhookId AND ${STATES.waiting}
    AND (next_at_ms <= :nowMs OR next_at_ms > :nowMs + ${MAX_ALERT_RETRY_MS})
    AND NOT EXISTS (SELECT 1 FROM outbox AS earlier WHERE earlier.webhook_id = outbox.webhook_id
      AND earlier.topic = outbox.topic AND earlier.id < outbox.id AND earlier.next_at_ms IS NOT NULL)
    ORDER BY id LIMIT :limit`);
  const delivered = sql("UPDATE outbox SET delivered_at = ?, next_at_ms = NULL, attempts = attempts + 1 WHERE id = ?");
  // Of a webhook that was removed meanwhile nothing is delivered any more.
  const failed = sql(`UPDATE outbox SET last_error = ?, next_at_ms = ?, attempts = attempts + 1
    WHERE id = ? AND next_at_ms IS NOT NULL`);
  const last = sql(`SELECT delivered_at AS deliveredAt, CASE WHEN delivered_at IS NULL THEN last_error END AS problem
    FROM outbox WHERE webhook_id = ? AND attempts > 0 ORDER BY next_at_ms IS NOT NULL DESC, id DESC LIMIT 1`);
  const about =
    sql(`SELECT webhook_id AS webhook, attempts, delivered_at AS deliveredAt, last_error AS error FROM outbox
    WHERE topic = ? ORDER BY id`);
  const depth = sql("SELECT count(*) FROM outbox WHERE next_at_ms IS NOT NULL").pluck();
  const dead = sql(`SELECT count(*) FROM outbox WHERE ${STATES.dead}`).pluck();
  const again =
    sql(`UPDATE outbox INDEXED BY ${INDEXES.dead} SET next_at_ms = 0, attempts = 0, retry_until_ms = :retryUntilMs
    WHERE webhook_id = :webhookId AND ${STATES.dead} AND (:id IS NULL OR id = :id)`);
  return {
    put: (alert, at) => {
      const topic = alert.incident ?? (alert.alias === undefined ? null : `alias:${alert.alias}`);
      put.run({ body: JSON.stringify(alert), at, topic, retryUntilMs: Date.parse(at) + RETRY_ALERTS_FOR_MS });
    },
    dueAlerts: (webhookId, nowMs, limit) =>
      (due.all({ webhookId, nowMs, limit }) as DueRow[]).map((row) => ({
        ...row,
        body: JSON.parse(row.body) as OutboxAlert,
      })),
    alertDelivered: writes.make("alert", (id, at) => {
      delivered.run(at, id);
    }),
    alertFailed: writes.make("alert", (id, error, nextAtMs) => {
      failed.run(error, nextAtMs, id);
    }),
    lastDelivery: (webhookId) => last.get(webhookId) as LastDelivery | undefined,
    alertsOf: (incident) => about.all(incident) as AlertDelivery[],
    outboxDepth: () => depth.get() as number,
    deadLetters: () => dead.get() as number,
    readDeliveries: ({ webhookId, state, limit }) => {
      const [index, wanted] = state === undefined ? ["outbox_by_webhook", "TRUE"] : [INDEXES[state], STATES[state]];
      const rows = sql(`SELECT id, body, created_at AS createdAt, attempts, next_at_ms AS nextAtMs,
        delivered_at AS deliveredAt, last_error AS problem
        FROM outbox INDEXED BY ${index} WHERE webhook_id = ? AND ${wanted} ORDER BY id DESC LIMIT ?`).all(
        webhookId,
        limit,
      );
      return (rows as DeliveryRow[]).map(asDelivery);
    },
    redeliver: writes.make("alert", ({ webhookId, id = null }, nowMs, record) => {
      const { changes } = again.run({ webhookId, id, retryUntilMs: nowMs + RETRY_ALERTS_FOR_MS });
      if (changes > 0) insertRecord(record);
      return changes;
    }),
  };
}

interface DueRow {
  readonly id: number;
  readonly body: string;
  readonly createdAt: string;
  readonly attempts: number;
  readonly retryUntilMs: number;
}

interface DeliveryRow {
  readonly id: number;
  readonly body: string;
  readonly createdAt: string;
  readonly attempts: number;
  readonly nextAtMs: number | null;
  readonly deliveredAt: string | null;
  readonly problem: string | null;
}

function asDelivery({ body, nextAtMs, ...row }: DeliveryRow): Delivery {
  const { trace: _unsaid, ...alert } = JSON.parse(body) as OutboxAlert;
  const state = nextAtMs !== null ? "waiting" : row.deliveredAt === null ? "dead" : "delivered";
  return { ...alert, ...row, state };
}
