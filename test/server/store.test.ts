import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import Database from "better-sqlite3";
import { startServer } from "flagback";
import { expect, test } from "vitest";
import { SILENT, testFolder, testServer } from "../support/server.ts";

test("a database of a newer schema is refused and left as it is", async () => {
  const server = await testServer();
  await server.close();
  const file = join(server.dataDir, "flagback.db");
  const database = new Database(file);
  database.pragma("user_version = 99");
  database.close();
  await expect(startServer({ dataDir: server.dataDir, port: 0, log: SILENT })).rejects.toMatchObject({
    code: "database_newer",
    message: expect.stringContaining("schema 99"),
  });
  const after = new Database(file);
  expect(after.pragma("user_version", { simple: true })).toBe(99);
  after.close();
});

test("a second server on the same database is refused, and the first goes on", async () => {
  const server = await testServer();
  await expect(startServer({ dataDir: server.dataDir, port: 0, log: SILENT })).rejects.toMatchObject({
    code: "database_in_use",
    hint: expect.stringContaining("--data-dir"),
  });
  expect((await server.call("POST", "/v1/stop", { reason: "still here" })).status).toBe(200);
});

test("a file that is no database is refused with the way out", async () => {
  const dataDir = await testFolder();
  await writeFile(
    join(dataDir, "flagback.db"),
    "this is no database, but it is long enough to look like one".repeat(40),
  );
  await expect(startServer({ dataDir, port: 0, log: SILENT })).rejects.toMatchObject({ code: "database_corrupt" });
});

test("audit rows can't be changed, not even by SQL", async () => {
  const server = await testServer();
  await server.close();
  const database = new Database(join(server.dataDir, "flagback.db"));
  expect(() => database.prepare("UPDATE audit SET summary = 'nothing happened'").run()).toThrow(/append-only/);
  database.close();
});

test("a change that the disk refuses is refused whole: nothing is streamed, and the old state is still served", async () => {
  const server = await testServer();
  const before = await server.call("GET", "/v1/kill-switches");
  await server.close();
  // From here on the database takes no rows of this table, as a full disk would.
  const database = new Database(join(server.dataDir, "flagback.db"));
  database.exec("CREATE TRIGGER full BEFORE INSERT ON history BEGIN SELECT RAISE(ABORT, 'disk full'); END");
  database.close();
  const again = await server.restart();
  const refused = await again.call("POST", "/v1/stop", { reason: "x" });
  expect(refused).toMatchObject({ status: 503, body: { code: "database_unavailable" } });
  expect((await again.call("GET", "/v1/kill-switches")).body).toEqual(before.body);
  const { body } = await again.call<{ events: { action: string }[] }>("GET", "/v1/audit");
  expect(body.events.map((event) => event.action)).not.toContain("stop");
});

test("everything that people made is there after a restart", async () => {
  const server = await testServer();
  await server.call(
    "POST",
    "/v1/apply",
    "rollback: {stable_version: a@1, candidate_version: a@2, triggers: {error_rate: 0.1}}",
  );
  await server.call("PUT", "/v1/flags/f", { state: "ENABLED", variants: { on: true }, defaultVariant: "on" });
  await server.call("POST", "/v1/webhooks", { url: "http://127.0.0.1:9/hook" });
  await server.call("POST", "/v1/aliases/a/rollout", {});
  await server.call("POST", "/v1/aliases/a/rollback", { reason: "x" });
  const paths = [
    "/v1/aliases",
    "/v1/versions",
    "/v1/kill-switches",
    "/v1/flags",
    "/v1/incidents",
    "/v1/webhooks",
    "/v1/tokens",
  ];
  const read = async (from: typeof server) =>
    Promise.all(paths.map(async (path) => (await from.call("GET", path)).body));
  const before = await read(server);
  expect(await read(await server.restart())).toEqual(before);
});
