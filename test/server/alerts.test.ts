/** A webhook that never answers costs its own alerts, not the others'. */
import { createServer } from "node:http";
import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import { openSqliteStore } from "../../server/src/store/sqlite.ts";
import type { Store } from "../../server/src/store/store.ts";
import { eventually, testFolder, testServer } from "../support/server.ts";

test("an alert for a healthy webhook arrives while another webhook hangs, and a stopping server does not wait for that one", async () => {
  const hung: string[] = [];
  const told: string[] = [];
  const server = await testServer();
  await server.call("POST", "/v1/webhooks", { url: await webhook((body) => void hung.push(body)) });
  await server.call("POST", "/v1/stop", { reason: "first" });
  await eventually("the hanging webhook is asked", () => hung.length === 1);
  const respond = (body: string, end: () => void) => {
    told.push(body);
    end();
  };
  await server.call("POST", "/v1/webhooks", { url: await webhook(respond) });
  await server.call("POST", "/v1/kill-switches/writes_disabled/release", { reason: "x" });
  await server.call("POST", "/v1/stop", { reason: "second" });
  await eventually("the healthy webhook is told", () => told.length === 1);
  expect(JSON.parse(told[0] ?? "")).toMatchObject({ kind: "stop", text: expect.stringContaining("reason=second") });
  expect(hung).toHaveLength(1);
  await server.close();
});

test("an alert whose retry was planned by a clock that was set back since is due, and one of the next minute is not", async () => {
  const nowMs = 1_800_000_000_000;
  const store = await outboxOf([nowMs - 1, nowMs + 1_000, nowMs + 60_000, nowMs + 3_600_000]);
  const due = await store.dueAlerts("wh_1", nowMs, 10);
  expect(due.map(({ id }) => id)).toEqual([1, 4]);
});

test("an alert that could not be delivered to a webhook that was removed meanwhile does not wait for ever", async () => {
  const store = await outboxOf([0]);
  await store.deleteWebhook("wh_1", {
    audit: {
      timestamp: new Date(0).toISOString(),
      actor: { kind: "system", name: "system" },
      action: "webhook.delete",
      target: "webhook:wh_1",
      summary: "Removed the webhook wh_1.",
    },
  });
  await store.alertFailed(1, "the webhook answered 503", 1_000);
  expect(await store.outboxDepth()).toBe(0);
});

test("a webhook from before there were formats and signatures is of the format standard and not signed", async () => {
  const dataDir = await testFolder();
  const file = join(dataDir, "flagback.db");
  openSqliteStore(file).close();
  const told: string[] = [];
  const url = await webhook((body, end) => {
    told.push(body);
    end();
  });
  const database = new Database(file);
  const old = { id: "wh_old", url, createdAt: "2026-01-02T03:04:05.678Z" };
  database.prepare("INSERT INTO documents VALUES ('webhook', 'wh_old', ?)").run(JSON.stringify(old));
  database.close();
  const server = await testServer({ dataDir });
  const listed = await server.call("GET", "/v1/webhooks");
  expect(listed.body).toEqual({ webhooks: [{ ...old, url: new URL(url).origin, format: "standard" }] });
  await server.call("POST", "/v1/stop", { reason: "x" });
  await eventually("it is told", () => told.length === 1);
  // From then on signed.
  expect((await server.call("POST", "/v1/webhooks/wh_old/rotate")).body).toMatchObject({ secret: expect.any(String) });
});

/** A store whose alerts for the webhook `wh_1` are planned for these times. */
async function outboxOf(nextAtMs: readonly number[]): Promise<Store> {
  const file = join(await testFolder(), "flagback.db");
  openSqliteStore(file).close();
  const database = new Database(file);
  const put = database.prepare(
    "INSERT INTO outbox (webhook_id, body, created_at, next_at_ms) VALUES ('wh_1', '{}', '', ?)",
  );
  for (const each of nextAtMs) put.run(each);
  database.close();
  const store = openSqliteStore(file);
  onTestFinished(() => store.close());
  return store;
}

async function webhook(handle: (body: string, end: () => void) => void): Promise<string> {
  const receiver = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += chunk));
    request.on("end", () => handle(text, () => response.end()));
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    receiver.closeAllConnections();
    receiver.close();
  });
  return `http://127.0.0.1:${(receiver.address() as { port: number }).port}/hook`;
}
