/**
 * Backups of a running server, and what a restored one is: whole, checked, and nobody's earlier history.
 */
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import { gunzipSync, gzipSync } from "node:zlib";
import { FlagbackProvider, withRun } from "@flagback/provider";
import type { AuditEvent } from "@flagback/schemas";
import Database from "better-sqlite3";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { type RestoreOptions, restoreBackup } from "../../server/src/restore.ts";
import { Backups } from "../../server/src/store/backup.ts";
import { unpackBackup } from "../../server/src/store/backup-file.ts";
import { NetworkProxy } from "../support/network-proxy.ts";
import { RawRuntime } from "../support/raw-runtime.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testFolder, testServer } from "../support/server.ts";

const QUIET = { warn: () => undefined, error: () => undefined };
const NOW_MS = Date.parse("2026-02-03T04:05:06Z");

test("a runtime that is connected across a restore ends in the restored state, and no outcome counts twice or as missing", async () => {
  const first = await exposingServer();
  let current = first;
  const proxy = await NetworkProxy.start(() => current.url);
  onTestFinished(() => proxy.close());
  const provider = await providerOf(proxy.url, await first.token("runtime"));
  const run = (key: string) => begin(provider, key);

  // Each run is named after when it begins and ends: before the backup, after it, or after the restore.
  const beforeBefore = await run("bb");
  const beforeAfter = await run("ba");
  const beforeRestored = await run("br");
  beforeBefore.end();
  await counted(first, { assigned: 3, settled: 1 });
  const file = await backupOf(first);

  const afterAfter = await run("aa");
  const afterRestored = await run("ar");
  afterAfter.end();
  beforeAfter.end();
  await counted(first, { assigned: 5, settled: 3 });
  await first.call("POST", "/v1/stop", { reason: "after the backup" });
  await eventually("the stop is applied", () => !provider.writesAllowed({ agent: "support-agent" }));
  await first.close();

  current = await restoredServer(first, file, { stop: false });
  await eventually("the switch is as it was at the backup", () => provider.writesAllowed({ agent: "support-agent" }));
  beforeRestored.end();
  afterRestored.end();
  const last = await run("rr");
  last.end();
  // bb was counted before the backup; ar is announced again and counted; rr is new. What is lost with the old history: aa,
  // and how the runs that were open at the backup went. None of those counts as missing.
  await counted(current, { assigned: 5, settled: 3 });
  await eventually("nothing is left to send", () => provider.outcomeStatistics.pending === 0);
  const { traffic } = await rolloutOf(current);
  expect(sum(traffic, "missing")).toBe(0);
  expect(sum(traffic, "settled")).toBe(3);
  // Open runs of the backup don't wait for a report that never comes.
  await current.close();
  const database = new Database(join(current.dataDir, "flagback.db"));
  onTestFinished(() => void database.close());
  const sums = database
    .prepare("SELECT sum(counts ->> '$.lost') AS lost, sum(counts ->> '$.missing') AS missing FROM open_ticks")
    .get();
  expect(sums).toEqual({ lost: 2, missing: 0 });
  expect(database.prepare("SELECT count(*) FROM assignments").pluck().get()).toBe(0);
});

test("everything that was answered before a backup is in it, and it is a moment of the history, also under writes", async () => {
  const server = await exposingServer();
  const answered: string[] = [];
  let isOver = false;
  const writing = (async () => {
    for (let n = 0; !isOver; n++) {
      const scope = `tenant=t${n % 50}`;
      await server.call("POST", "/v1/kill-switches/writes_disabled/engage", { scope, reason: `r${n}` });
      answered.push(`r${n}`);
      await server.call("POST", "/v1/kill-switches/writes_disabled/release", { scope, reason: `r${n}` });
    }
  })();
  for (let backup = 0; backup < 3; backup++) {
    await eventually("there is more to lose", () => answered.length > 10 * (backup + 1));
    const before = [...answered];
    const file = await backupOf(server);
    const restored = await restoredServer(server, file, {});
    const events = await auditOf(restored);
    const reasons = events.flatMap(({ action, reason }) => (action === "kill_switch.engage" ? [reason] : []));
    expect(reasons.slice(0, before.length)).toEqual(before);
    const revisions = events.flatMap(({ revision }) => revision ?? []);
    const { body } = await restored.call<{ revision: number }>("GET", "/readyz");
    expect(body.revision).toBe(Math.max(...revisions));
    await restored.close();
  }
  isOver = true;
  await writing;
});

test("a restored database has another epoch, numbers that were never given, and says that it was restored", async () => {
  const server = await exposingServer();
  await server.call("POST", "/v1/webhooks", { url: "http://127.0.0.1:9/nobody" });
  const file = await backupOf(server);
  const lost = await auditOf(server);
  const epoch = await epochOf(server);
  const restored = await restoredServer(server, file, {});
  const row = (await auditOf(restored)).at(-1);
  expect(await epochOf(restored)).not.toBe(epoch);
  expect(row).toMatchObject({ action: "database.restore", timestamp: "2026-02-03T04:05:06.000Z" });
  expect(row?.summary).toContain(lost.at(-1)?.timestamp);
  // More than anybody can have been given after the backup.
  expect(row?.id).toBeGreaterThan(1_000_000);
  await restored.call("POST", "/v1/aliases/support-agent/rollback", { reason: "alerts somebody" });
  await restored.close();
  const database = new Database(join(restored.dataDir, "flagback.db"), { readonly: true });
  onTestFinished(() => void database.close());
  expect(database.prepare("SELECT min(id) FROM outbox").pluck().get()).toBeGreaterThan(1_000_000);
});

test("with stop, every kill switch is engaged before anybody is served", async () => {
  const server = await exposingServer();
  const file = await backupOf(server);
  const restored = await restoredServer(server, file, { stop: true });
  const { body } = await restored.call<{ killSwitches: { engaged: { scope: string }[] }[] }>(
    "GET",
    "/v1/kill-switches",
  );
  expect(body.killSwitches.map(({ engaged }) => engaged.map(({ scope }) => scope))).toEqual([["*"]]);
});

test("a backup of which a byte differs, or that ends too early, is never unpacked as anything but what it was", async () => {
  const whole = await readFile(await backupOf(await exposingServer()));
  const content = gunzipSync(whole);
  const file = join(await testFolder(), "damaged.gz");
  const at = fc.integer({ min: 0, max: whole.length - 1 });
  const damages = fc.oneof(fc.record({ end: at }), fc.record({ at, change: fc.integer({ min: 1, max: 255 }) }));
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(damages, async (damage) => {
      const bytes = Buffer.from("end" in damage ? whole.subarray(0, damage.end) : whole);
      if ("at" in damage) bytes[damage.at] = (bytes[damage.at] as number) ^ damage.change;
      await writeFile(file, bytes);
      const unpacked: Buffer[] = [];
      const into = new Writable({ write: (chunk, _encoding, done) => done(void unpacked.push(chunk)) });
      const problem = await unpackBackup(file, into).then(
        () => undefined,
        (error: unknown) => error,
      );
      // Some bits, such as the time in its header, say nothing of what is packed.
      if (problem === undefined) expect(Buffer.concat(unpacked).equals(content)).toBe(true);
      else expect(problem).toMatchObject({ code: "backup_invalid" });
      if (problem !== undefined) refused += 1;
    }),
    { numRuns: 200 },
  );
  expect(refused).toBeGreaterThan(150);
});

test.each([
  ["no file", async () => undefined],
  ["no gzip", (file: string) => writeFile(file, "flagback")],
  ["no database in it", (file: string) => writeFile(file, gzipSync("flagback".repeat(1_000)))],
  ["a database of somebody else", somebodysDatabase],
  ["a page of garbage in it", damagedDatabase],
])("what is no backup is refused: %s", async (_what, make) => {
  const file = join(await testFolder(), "backup.gz");
  const dataDir = await testFolder();
  await make(file);
  await expect(restore({ file, dataDir })).rejects.toMatchObject({
    code: "backup_invalid",
    message: expect.stringContaining(file),
  });
  expect(await readdir(dataDir)).toEqual([]);
  const parent = await testFolder();
  await expect(restore({ file, dataDir: join(parent, "new") })).rejects.toMatchObject({ code: "backup_invalid" });
  expect(await readdir(parent)).toEqual([]);
});

test("a backup of a newer flagback is refused as such", async () => {
  const file = join(await testFolder(), "backup.gz");
  await changedBackup(file, (database) => database.pragma("user_version = 99"));
  await expect(restore({ file })).rejects.toMatchObject({ code: "database_newer" });
});

test("a folder that is not empty is left alone; with force its database is moved aside whole", async () => {
  const server = await exposingServer();
  const file = await backupOf(server);
  await server.call("POST", "/v1/stop", { reason: "after the backup" });
  const { dataDir } = server;
  await expect(restore({ file, dataDir, force: true })).rejects.toMatchObject({ code: "database_in_use" });
  await server.close();
  await expect(restore({ file, dataDir })).rejects.toMatchObject({
    code: "data_folder_not_empty",
    hint: expect.stringContaining("--force"),
  });
  const { movedTo } = await restore({ file, dataDir, force: true });
  expect(await engagedIn(dataDir)).toBe(0);
  // It is a data folder itself.
  expect(await engagedIn(movedTo as string)).toBe(1);

  async function engagedIn(folder: string): Promise<number> {
    const opened = await testServer({ dataDir: folder, adminToken: server.adminToken });
    const { body } = await opened.call<{ killSwitches: { engaged: unknown[] }[] }>("GET", "/v1/kill-switches");
    await opened.close();
    return body.killSwitches.reduce((total, { engaged }) => total + engaged.length, 0);
  }
});

test("one backup is made at a time, and one that nobody reads to its end leaves nothing behind", async () => {
  const server = await exposingServer();
  // Too much for the socket's buffers, and nothing that gzip makes small.
  for (let n = 0; n < 40; n++) {
    const noise = Buffer.from(Array.from({ length: 180_000 }, () => Math.floor(Math.random() * 256))).toString(
      "base64",
    );
    await server.call("POST", "/v1/versions", { id: `support-agent@9.${n}`, payload: { noise } });
  }
  const abort = new AbortController();
  const headers = { authorization: `Bearer ${server.adminToken}` };
  const unread = await fetch(`${server.url}/v1/backup`, { method: "POST", headers, signal: abort.signal });
  expect(unread.status).toBe(200);
  expect(await server.call("POST", "/v1/backup")).toMatchObject({ status: 503, body: { code: "overloaded" } });
  abort.abort();
  await eventually("the next one is made", async () => {
    const answer = await fetch(`${server.url}/v1/backup`, { method: "POST", headers });
    await answer.arrayBuffer();
    return answer.status === 200;
  });
  await eventually("the copies are gone", async () =>
    (await readdir(server.dataDir)).every((name) => !name.includes("backup")),
  );
});

test("a copy that can't be removed costs the next backup and nothing else", async () => {
  const folder = await testFolder();
  const file = join(folder, "copy");
  // A folder is nothing that the removal of a file takes away.
  const inTheWay = join(folder, "copy-wal");
  const backups = new Backups(async (to) => {
    await writeFile(to, "pages");
    await mkdir(inTheWay, { recursive: true });
  }, file);
  const { stream } = await backups.make();
  await stream.resume().toArray();
  await eventually("it is over", async () => {
    const next = await backups.make().catch((error: NodeJS.ErrnoException) => error);
    return next instanceof Error && next.code === "ERR_FS_EISDIR";
  });
  await rm(inTheWay, { recursive: true });
  expect((await backups.make()).bytes).toBe(5);
});

test("a backup is answered to be kept by nobody on the way, and leaves an audit row of who took it", async () => {
  const server = await testServer();
  const headers = { authorization: `Bearer ${server.adminToken}` };
  const answer = await fetch(`${server.url}/v1/backup`, { method: "POST", headers });
  await answer.arrayBuffer();
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect((await auditOf(server)).at(-1)).toMatchObject({ action: "database.backup", actor: { name: "first admin" } });
});

test("a socket of the old history gets a snapshot of the restored one", async () => {
  const server = await exposingServer();
  const token = await server.token("runtime");
  const before = await RawRuntime.connect(server.url, token);
  const { epoch, revision, mark } = await before.next("snapshot");
  const file = await backupOf(server);
  const restored = await restoredServer(server, file, {});
  const resume = { epoch, revision, mark };
  const after = await RawRuntime.connect(restored.url, token, { resume });
  // Revision and mark fit, and the epoch does not.
  expect(await after.next("snapshot")).toMatchObject({ revision, mark });
});

async function exposingServer(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  await server.call("POST", "/v1/aliases/support-agent/rollout", {});
  return server;
}

async function providerOf(url: string, token: string): Promise<FlagbackProvider> {
  const provider = new FlagbackProvider({ url, token, logger: QUIET });
  onTestFinished(() => provider.onClose());
  await provider.initialize();
  return provider;
}

/** Begins a run, and lets the test say when it ends. */
async function begin(provider: FlagbackProvider, key: string): Promise<{ end(): void }> {
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  await new Promise<void>((begun) => {
    void withRun({ provider, agent: "support-agent", userId: key }, async (run) => {
      await run.pin("support-agent", "none");
      begun();
      await ended;
    });
  });
  return { end };
}

async function counted(server: TestServer, expected: { assigned: number; settled: number }): Promise<void> {
  await eventually(`the server has counted ${JSON.stringify(expected)}`, async () => {
    const { traffic } = await rolloutOf(server);
    return sum(traffic, "assigned") === expected.assigned && sum(traffic, "settled") === expected.settled;
  });
}

type Traffic = readonly { readonly assigned: number; readonly settled: number; readonly missing: number }[];

async function rolloutOf(server: TestServer): Promise<{ traffic: Traffic }> {
  return (await server.call<{ traffic: Traffic }>("GET", "/v1/aliases/support-agent/rollout")).body;
}

function sum(traffic: Traffic, column: keyof Traffic[number]): number {
  return traffic.reduce((total, each) => total + each[column], 0);
}

async function backupOf(server: TestServer): Promise<string> {
  const headers = { authorization: `Bearer ${server.adminToken}` };
  const answer = await fetch(`${server.url}/v1/backup`, { method: "POST", headers });
  expect(answer.status).toBe(200);
  const file = join(await testFolder(), "backup.gz");
  await writeFile(file, Buffer.from(await answer.arrayBuffer()));
  return file;
}

async function restore(options: Partial<RestoreOptions> & { file: string }) {
  const dataDir = options.dataDir ?? (await testFolder());
  return restoreBackup({ force: false, stop: false, nowMs: NOW_MS, ...options, dataDir });
}

async function restoredServer(from: TestServer, file: string, options: { stop?: boolean }): Promise<TestServer> {
  const dataDir = join(await testFolder(), "restored");
  await restore({ file, dataDir, ...options });
  expect((await stat(join(dataDir, "flagback.db"))).mode & 0o777).toBe(0o600);
  return testServer({ dataDir, adminToken: from.adminToken });
}

/** All of it, page by page. */
async function auditOf(server: TestServer): Promise<AuditEvent[]> {
  const events: AuditEvent[] = [];
  for (;;) {
    const path = `/v1/audit?limit=1000&after=${events.at(-1)?.id ?? 0}`;
    const page = (await server.call<{ events: AuditEvent[] }>("GET", path)).body.events;
    if (page.length === 0) return events;
    events.push(...page);
  }
}

async function epochOf(server: TestServer): Promise<string | null> {
  const token = await server.token("runtime");
  return (await server.call("GET", "/v1/snapshot", undefined, { token })).headers.get("flagback-epoch");
}

/** A backup into which something was done. */
async function changedBackup(file: string, change: (database: Database.Database) => unknown): Promise<void> {
  const server = await exposingServer();
  await server.close();
  const path = join(server.dataDir, "flagback.db");
  const database = new Database(path);
  database.pragma("journal_mode = DELETE");
  change(database);
  database.close();
  await writeFile(file, gzipSync(await readFile(path)));
}

async function damagedDatabase(file: string): Promise<void> {
  const path = join(await testFolder(), "flagback.gz");
  await changedBackup(path, (database) => database.exec("VACUUM"));
  const bytes = gunzipSync(await readFile(path));
  bytes.fill(0xaa, 3 * 4_096, 4 * 4_096);
  await writeFile(file, gzipSync(bytes));
}

async function somebodysDatabase(file: string): Promise<void> {
  const folder = await testFolder();
  await mkdir(folder, { recursive: true });
  const path = join(folder, "other.db");
  const database = new Database(path);
  database.exec("CREATE TABLE songs (title TEXT)");
  database.close();
  await writeFile(file, gzipSync(await readFile(path)));
}
