/**
 * A damaged database is refused with the way out, and left as it is. What a crash leaves behind is no damage.
 */
import { createHash } from "node:crypto";
import { appendFile, cp, mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import Database from "better-sqlite3";
import fc from "fast-check";
import { startServer } from "flagback";
import { expect, test } from "vitest";
import { openSqliteStore } from "../../server/src/store/sqlite.ts";
import type { Loaded } from "../../server/src/store/store.ts";
import { eventually, SILENT, SUPPORT_AGENT, type TestServer, testFolder, testServer } from "../support/server.ts";

const PAGE_BYTES = 4_096;
const LIMITS = { history: 1_000, runs: 200_000 };

interface Files {
  readonly database: string;
  readonly journal: string;
}

/** What happened to the files of a server that was stopped, or killed and has its last changes in the journal only. */
const DAMAGES: readonly (readonly [string, "stopped" | "killed", (files: Files) => Promise<unknown>])[] = [
  ["an empty file", "stopped", ({ database }) => truncate(database, 0)],
  ["no database", "stopped", ({ database }) => writeFile(database, "this is text, and long enough".repeat(1_000))],
  ["a header of garbage", "stopped", ({ database }) => overwrite(database, 0, 16)],
  ["a page of garbage in the middle", "stopped", ({ database }) => overwrite(database, 5 * PAGE_BYTES, PAGE_BYTES)],
  ["a page of zeros in the middle", "stopped", ({ database }) => overwrite(database, 5 * PAGE_BYTES, PAGE_BYTES, 0)],
  ["half of the file", "stopped", ({ database }) => halve(database)],
  ["a database of somebody else", "stopped", ({ database }) => somebodysDatabase(database)],
  ["the journal without the database", "killed", ({ database }) => rm(database)],
  ["a journal of half its length", "killed", ({ journal }) => halve(journal)],
  ["a journal of no length", "killed", ({ journal }) => truncate(journal, 0)],
  ["no journal", "killed", ({ journal }) => rm(journal)],
  ["a journal with garbage in the middle", "killed", ({ journal }) => overwrite(journal, 3 * PAGE_BYTES, PAGE_BYTES)],
];

test.each(DAMAGES)("%s is refused with the way out, and nothing is changed", async (_what, state, damage) => {
  const server = await usedServer();
  if (state === "stopped") await server.close();
  const dataDir = state === "stopped" ? server.dataDir : await killed(server);
  const database = join(dataDir, "flagback.db");
  await damage({ database, journal: `${database}-wal` });
  const before = await fingerprints(dataDir);
  const refusal = await startServer({ dataDir, port: 0, log: SILENT }).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(refusal).toMatchObject({ code: "database_corrupt", message: expect.stringContaining("flagback.db") });
  expect((refusal as { hint: string }).hint).toContain(`flagback restore FILE --data-dir ${dataDir} --force`);
  expect(await fingerprints(dataDir)).toEqual(before);
});

test("a row that can't be read is refused as damage", async () => {
  const server = await usedServer();
  await server.close();
  const database = new Database(join(server.dataDir, "flagback.db"));
  database.exec("UPDATE documents SET document = '{' WHERE kind = 'alias'");
  database.close();
  await expect(startServer({ dataDir: server.dataDir, port: 0, log: SILENT })).rejects.toMatchObject({
    code: "database_corrupt",
  });
});

test("a journal that was cut off can be accepted as it is, by deleting the witness", async () => {
  const server = await usedServer();
  const dataDir = await killed(server);
  await truncate(join(dataDir, "flagback.db-wal"), 0);
  const witness = join(dataDir, "flagback.db-witness");
  await expect(startServer({ dataDir, port: 0, log: SILENT })).rejects.toMatchObject({
    hint: expect.stringContaining(`delete ${witness}`),
  });
  await rm(witness);
  const again = await testServer({ dataDir, adminToken: server.adminToken });
  expect((await again.call("GET", "/readyz")).status).toBe(200);
});

test.each([
  ["as the kill left it", async () => undefined],
  ["with a frame begun and not finished", (journal: string) => appendFile(journal, Buffer.alloc(1_000, 7))],
  ["with whole frames that were never committed", (journal: string) => appendFile(journal, Buffer.alloc(20_000, 7))],
])("what a crash leaves is taken up %s, and nothing is missing", async (_what, leave) => {
  const server = await usedServer();
  const dataDir = await killed(server);
  await leave(join(dataDir, "flagback.db-wal"));
  const again = await testServer({ dataDir, adminToken: server.adminToken });
  for (const path of ["/v1/aliases", "/v1/kill-switches", "/v1/tokens", "/v1/versions"]) {
    expect((await again.call("GET", path)).body).toEqual((await server.call("GET", path)).body);
  }
});

test("a witness that is torn or of another database is no witness", async () => {
  const server = await usedServer();
  await server.close();
  const witness = join(server.dataDir, "flagback.db-witness");
  await writeFile(witness, '{"epoch": "');
  const again = await server.restart();
  await again.close();
  await writeFile(witness, JSON.stringify({ epoch: "another", audit: 10_000, tick: 10_000 }));
  await again.restart();
});

test("whatever garbage is written over a database, it is refused, or loads exactly as it was", async () => {
  const server = await usedServer();
  await server.close();
  const file = join(server.dataDir, "flagback.db");
  const whole = await readFile(file);
  const before = loaded(file);
  const other = join(await testFolder(), "flagback.db");
  // So many bytes of the first page at least: fewer may be other letters of a text, which no check can tell from the right ones.
  const least = 64;
  const damages = fc
    .record({
      page: fc.integer({ min: 0, max: whole.length / PAGE_BYTES - 1 }),
      offset: fc.integer({ min: 0, max: PAGE_BYTES - least }),
      length: fc.integer({ min: least, max: 3 * PAGE_BYTES }),
      seed: fc.integer({ min: 0, max: 255 }),
    })
    .map(({ page, offset, ...rest }) => ({ at: page * PAGE_BYTES + offset, ...rest }));
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(damages, async ({ at, length, seed }) => {
      await rm(`${other}-wal`, { force: true });
      const bytes = Buffer.from(whole);
      for (let n = at; n < Math.min(whole.length, at + length); n++) bytes[n] = (n * 31 + seed) & 0xff;
      await writeFile(other, bytes);
      try {
        expect(loaded(other)).toEqual(before);
      } catch (error) {
        expect(error).toMatchObject({ code: "database_corrupt" });
        refused += 1;
      }
    }),
    { numRuns: 100 },
  );
  expect(refused).toBeGreaterThan(50);
});

async function usedServer(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  for (let n = 0; n < 20; n++) {
    const scope = `tenant=t${n}`;
    await server.call("POST", "/v1/kill-switches/writes_disabled/engage", { scope, reason: "x".repeat(500) });
  }
  const { body } = await server.call<{ events: { id: number }[] }>("GET", "/v1/audit?limit=1");
  await eventually("the witness has seen all of it", async () => {
    const text = await readFile(join(server.dataDir, "flagback.db-witness"), "utf8");
    return JSON.parse(text).audit === body.events[0]?.id;
  });
  return server;
}

/** A folder with what a server's files are at this moment, as after `kill -9`. */
async function killed(server: TestServer): Promise<string> {
  const folder = join(await testFolder(), "killed");
  await mkdir(folder);
  for (const name of await readdir(server.dataDir)) {
    if (!name.endsWith("-shm")) await cp(join(server.dataDir, name), join(folder, name));
  }
  return folder;
}

/** Of every file that says something: not the index that SQLite makes anew of the journal, and no empty journal. */
async function fingerprints(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of (await readdir(folder)).sort()) {
    const bytes = await readFile(join(folder, name));
    if (name.endsWith("-shm") || (name.endsWith("-wal") && bytes.length === 0)) continue;
    found[name] = createHash("sha256").update(bytes).digest("hex");
  }
  return found;
}

async function halve(file: string): Promise<void> {
  await truncate(file, Math.floor((await readFile(file)).length / 2));
}

async function overwrite(file: string, at: number, length: number, byte = 0xaa): Promise<void> {
  const bytes = await readFile(file);
  bytes.fill(byte, at, at + length);
  await writeFile(file, bytes);
}

async function somebodysDatabase(file: string): Promise<void> {
  await rm(file);
  const database = new Database(file);
  database.exec("CREATE TABLE songs (title TEXT)");
  database.close();
}

function loaded(file: string): Loaded {
  const store = openSqliteStore(file);
  try {
    return store.load(LIMITS);
  } finally {
    store.close();
  }
}
