/**
 * What people ask of a table that grows is found by an index. Whether the disk is fast hides a walk through weeks of rows
 * until there are weeks of rows, so SQLite is asked how it would go about each query.
 */
import { join } from "node:path";
import Database from "better-sqlite3";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { openSqliteStore } from "../../server/src/store/sqlite.ts";
import type { FeedbackQuery, Store } from "../../server/src/store/store.ts";
import { testFolder } from "../support/server.ts";

const STATEMENT: Database.Statement = Object.getPrototypeOf(new Database(":memory:").prepare("SELECT 1"));
const QUERY = { alias: "agent", version: "agent@1", runId: "run-1", before: 7 };

test.each<[name: string, ask: (store: Store) => Promise<unknown>, index: string]>([
  ["alerts that are due", (store) => store.dueAlerts("w", 1, 10), "outbox_in_order"],
  ["a webhook's last delivery", (store) => store.lastDelivery("w"), "outbox_tried"],
  ["the alerts of an incident", (store) => store.alertsOf("inc_1"), "outbox_by_topic"],
  ["alerts that wait, counted", (store) => store.outboxDepth(), "outbox_due"],
  ["dead letters, counted", (store) => store.deadLetters(), "outbox_"],
  ["deliveries", (store) => store.readDeliveries({ webhookId: "w", limit: 10 }), "outbox_by_webhook"],
  [
    "those that wait",
    (store) => store.readDeliveries({ webhookId: "w", state: "waiting", limit: 10 }),
    "outbox_in_order",
  ],
  ["those that are dead", (store) => store.readDeliveries({ webhookId: "w", state: "dead", limit: 10 }), "outbox_dead"],
  [
    "those that arrived",
    (store) => store.readDeliveries({ webhookId: "w", state: "delivered", limit: 10 }),
    "outbox_by_webhook",
  ],
  ["what was said of an alias", (store) => store.feedbackSummaries("agent"), "COVERING INDEX feedback_summed"],
  ["an alias's audit", (store) => store.readAudit({ target: "alias:agent", limit: 10 }), "audit_by_target"],
  ["a decision's audit", (store) => store.readAudit({ decisionId: "d", limit: 10 }), "audit_by_decision"],
  [
    "frozen ticks of a rollout",
    (store) => store.frozenTicks({ alias: "agent", rolloutNumber: 1 }, { after: 7, limit: 10 }),
    "PRIMARY KEY (alias=? AND rollout_number=? AND tick>?",
  ],
  ["the audit from somewhere on", (store) => store.readAudit({ after: 7, limit: 10 }), "INTEGER PRIMARY KEY"],
])("%s are found by an index", async (_name, ask, index) => {
  const plans = await plansOf(ask);

  expect(plans).toHaveLength(1);
  expect(plans[0]?.[0]).toContain(index);
  expect(plans[0]?.[0]).toMatch(/^SEARCH|^SCAN outbox USING (COVERING )?INDEX/);
});

test("feedback is found by an index whatever is asked of it, and by its run where that is known", async () => {
  const asked = fc.subarray(["alias", "version", "runId", "before"] as const, { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(asked, async (keys) => {
      const query: FeedbackQuery = { ...Object.fromEntries(keys.map((key) => [key, QUERY[key]])), limit: 10 };

      const [plan] = await plansOf((store) => store.readFeedback(query));

      // One step: its rows come in the order that is asked for, without sorting them.
      expect(plan).toHaveLength(1);
      expect(plan?.[0]).toMatch(/^SEARCH/);
      if (query.runId !== undefined) expect(plan?.[0]).toContain("feedback_by_run");
    }),
    { numRuns: 30 },
  );
});

/** How SQLite goes about each query that the store makes of the call, step by step. */
async function plansOf(ask: (store: Store) => Promise<unknown>): Promise<string[][]> {
  const file = join(await testFolder(), "flagback.db");
  const store = openSqliteStore(file);
  const sources = await queriesOf(() => ask(store)).finally(() => store.close());
  const database = new Database(file);
  try {
    return sources.map((source) => {
      // What is asked for doesn't matter, only what it is compared with.
      const explain = database.prepare(`EXPLAIN QUERY PLAN ${source.replace(/[?]|:[a-zA-Z]+/g, "1")}`);
      return explain.all().map((row) => (row as { detail: string }).detail);
    });
  } finally {
    database.close();
  }
}

async function queriesOf(work: () => Promise<unknown>): Promise<string[]> {
  const spies = (["get", "all"] as const).map((method) => vi.spyOn(STATEMENT, method));
  try {
    await work();
    return spies.flatMap((spy) => spy.mock.contexts.map((statement) => (statement as Database.Statement).source));
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
