/**
 * A server whose database is older than it is, and a look into that database.
 */
import { join } from "node:path";
import Database from "better-sqlite3";
import { onTestFinished } from "vitest";
import { openSqliteStore } from "../../../server/src/store/sqlite.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../../support/server.ts";

/** A server with a rollback, an alert that was delivered, feedback, and an answer kept for repeats. */
export async function usedServer(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/webhooks", { url: "http://127.0.0.1:9/nobody" });
  await server.call("POST", "/v1/apply", SUPPORT_AGENT, { headers: { "idempotency-key": "once" } });
  await server.call("POST", "/v1/aliases/support-agent/rollout", {});
  await server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "x" });
  const token = await server.token("runtime");
  const feedback = [{ id: "f", runId: "r", alias: "support-agent", version: "support-agent@2.4.0", quality: 1 }];
  await server.call("POST", "/v1/feedback", { feedback }, { token });
  await server.close();
  edit(server, "UPDATE outbox SET delivered_at = created_at, next_at_ms = NULL");
  return server.restart();
}

/** How many incidents there are once what is past its term has gone. */
export async function incidentsAfterPruning(server: TestServer): Promise<number> {
  // Audit rows are looked at after the incidents.
  await eventually("audit rows are dropped", async () =>
    (await server.call<string>("GET", "/metrics")).body.includes('flagback_pruned_total{what="audit"}'),
  );
  return (await server.call<{ incidents: unknown[] }>("GET", "/v1/incidents")).body.incidents.length;
}

/** Makes everything in the database older. */
export function age(server: TestServer, days: number): void {
  const database = new Database(join(server.dataDir, "flagback.db"));
  database.exec("DROP TRIGGER IF EXISTS audit_is_append_only");
  const older = (column: string) => `${column} = strftime('%Y-%m-%dT%H:%M:%fZ', ${column}, '-${days} days')`;
  for (const [table, column] of [
    ["audit", "timestamp"],
    ["outbox", "delivered_at"],
    ["outbox", "created_at"],
    ["feedback", "received_at"],
    ["idempotency", "at"],
    ["incidents", "opened_at"],
  ] as const) {
    database.exec(`UPDATE ${table} SET ${older(column)}`);
  }
  database.close();
}

export function edit(server: TestServer, sql: string): void {
  const database = new Database(join(server.dataDir, "flagback.db"));
  try {
    database.exec(sql);
  } finally {
    database.close();
  }
}

export function read(server: TestServer, sql: string): unknown[] {
  const database = new Database(join(server.dataDir, "flagback.db"));
  try {
    return database.prepare(sql).pluck().all();
  } finally {
    database.close();
  }
}

export function rowsOf(server: TestServer, tables: readonly string[]): Record<string, number> {
  return Object.fromEntries(tables.map((table) => [table, Number(read(server, `SELECT count(*) FROM ${table}`)[0])]));
}

export function opened(server: TestServer) {
  const store = openSqliteStore(join(server.dataDir, "flagback.db"));
  onTestFinished(() => store.close());
  return store;
}
