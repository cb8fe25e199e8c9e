/**
 * The book, the evaluator and the store where the disk or the process fails.
 */
import type { AllowVerdict } from "@flagback/core";
import { FlagbackError, type Rollout } from "@flagback/schemas";
import Database from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import { parseConfig } from "../../server/src/config/parse-config.ts";
import { Engine } from "../../server/src/engine/engine.ts";
import { Evaluator } from "../../server/src/evaluator/evaluator.ts";
import { ExcursionAudit } from "../../server/src/evaluator/excursion-audit.ts";
import { LedgerBook } from "../../server/src/ledger/ledger-book.ts";
import { TickClock } from "../../server/src/ledger/tick-clock.ts";
import { openSqliteStore } from "../../server/src/store/sqlite.ts";
import type { Store } from "../../server/src/store/store.ts";
import { eventually, SUPPORT_AGENT, testFolder, testServer } from "../support/server.ts";

const CANDIDATE = "support-agent@2.4.0";
const ALLOW: AllowVerdict = {
  kind: "allow",
  alpha: 0.01,
  logE: 0,
  peakLogE: 3,
  threshold: 4.6,
  tick: 1,
  guardrails: [],
  leading: "error_rate",
  mode: "automatic",
  action: "rollback",
  carriers: [],
  exclusions: [],
  exposure: { logE: 0, logETooMany: 0, logETooFew: 0, neededLogE: 6.9 },
};
const ROLLOUT = { alias: "support-agent", rolloutNumber: 1 };
const ACTOR = { kind: "token", name: "t", id: "t" } as const;
const ALL = () => true;

test("evidence that was acknowledged before a crash is judged after the restart, without waiting for more", async () => {
  const first = await testServer();
  await first.close();
  // The server's own parts, up to the acknowledgement; it dies before the brain looks.
  const { store, engine, book } = await opened(first.dataDir);
  await startRollout(engine);
  book.connected("i", "t");
  book.countBatch("i", batch(1, 20, "failure"), ALL);
  await engine.flushLedger();
  expect(book.durableThrough("i")).toBe(1);
  store.close();
  const again = await testServer({ dataDir: first.dataDir, adminToken: first.adminToken });
  await eventually("it is rolled back", async () => {
    const { body } = await again.call<{ state: string }>("GET", "/v1/aliases/support-agent/rollout");
    return ["rolled_back", "recovering"].includes(body.state);
  });
});

test("a stop that the disk refused is tried again when the disk is back", async () => {
  let isBroken = false;
  const { engine, book } = await opened(await testFolder(), (store) => ({
    ...store,
    commit: async (commit) => {
      if (isBroken) throw new FlagbackError({ code: "database_unavailable", message: "disk full", hint: "" });
      return store.commit(commit);
    },
  }));
  await startRollout(engine);
  const errors: unknown[] = [];
  const evaluator = new Evaluator({
    engine,
    book,
    monotonicMs: () => performance.now(),
    now: Date.now,
    onError: (error) => errors.push(error),
  });
  onTestFinished(() => evaluator.close());
  book.connected("i", "t");
  isBroken = true;
  book.countBatch("i", batch(1, 20, "failure"), ALL);
  evaluator.markDirty(["support-agent"]);
  await eventually("the disk refuses", () => errors.length > 0);
  isBroken = false;
  await eventually(
    "it is rolled back",
    () => engine.world.aliases.get("support-agent")?.rollout?.state === "rolled_back",
  );
});

test("an excursion whose audit row the disk refused is audited when it is looked at again, once", async () => {
  const { engine } = await opened(await testFolder());
  await startRollout(engine);
  const rollout = engine.world.aliases.get("support-agent")?.rollout as Rollout;
  const verdict = (logE: number) => ({ ...ALLOW, logE });
  const rows: string[] = [];
  let isBroken = true;
  const excursions = new ExcursionAudit(
    async ({ summary }) => {
      if (isBroken) throw new Error("disk full");
      rows.push(summary);
    },
    () => 0,
  );
  await excursions.see("support-agent", rollout, verdict(3), () => []);
  await expect(excursions.see("support-agent", rollout, verdict(1), () => [])).rejects.toThrow("disk full");
  isBroken = false;
  await excursions.see("support-agent", rollout, verdict(1), () => []);
  await excursions.see("support-agent", rollout, verdict(1), () => []);
  expect(rows).toEqual([expect.stringContaining("rose to 3.00 of 4.60 and fell again")]);
});

test("an outage of the disk keeps every run that was counted meanwhile, however many", async () => {
  const { engine, book } = await opened(await testFolder());
  await startRollout(engine);
  for (let n = 0; n < 150; n++) {
    const reports = Array.from({ length: 1_000 }, (_, i) => ({ ...report, runId: `${n}-${i}` }));
    book.countReports(reports, "http", ALL, 0);
  }
  const runs = () => book.collect().runs.flatMap(({ runIds }) => runIds);
  expect(runs()).toHaveLength(150_000);
  book.restore();
  expect(runs()).toHaveLength(150_000);
});

test("beyond its bound of outcomes that wait for the disk the book counts nothing more, and forgets nothing of it", async () => {
  const { engine, book } = await opened(await testFolder(), undefined, 4);
  await startRollout(engine);
  book.connected("i", "t");
  expect(book.countBatch("i", batch(1, 4, "success"), ALL).kind).toBe("counted");
  expect(book.countBatch("i", batch(2, 1, "success"), ALL).kind).toBe("full");
  await engine.flushLedger();
  // The same batch is still the next one.
  expect(book.countBatch("i", batch(2, 1, "success"), ALL).kind).toBe("counted");
  expect(book.totalsOf({ ...ROLLOUT, version: CANDIDATE }).settled).toBe(5);
});

test("instances that said hello and are gone are forgotten; one that reported is remembered", async () => {
  const { engine, book, advance } = await opened(await testFolder());
  await startRollout(engine);
  for (const instance of ["silent", "reporting"]) book.connected(instance, "t");
  book.countBatch("reporting", batch(1, 1, "success"), ALL);
  for (const instance of ["silent", "reporting"]) book.disconnected(instance);
  advance(1_000);
  book.advance();
  expect(book.belongsToOther("silent", "somebody else")).toBe(false);
  expect(book.belongsToOther("reporting", "somebody else")).toBe(true);
});

test("runs of a host that vanished in silence stay excused when the server restarts", async () => {
  const folder = await testFolder();
  const { store, engine, book, advance } = await opened(folder);
  await startRollout(engine);
  book.connected("i", "t");
  book.countBatch("i", batch(1, 20, "success", 0), ALL);
  book.died("i");
  advance(30_000);
  await engine.flushLedger();
  store.close();
  const again = await opened(folder);
  again.advance(62_000);
  again.book.advance();
  expect(again.book.totalsOf({ ...ROLLOUT, version: CANDIDATE })).toMatchObject({ assigned: 20, missing: 0 });
});

test("ticks that are folded into the prefix leave the open ones, and are kept as sums", async () => {
  const folder = await testFolder();
  const { store, engine, book, advance } = await opened(folder);
  await startRollout(engine);
  book.connected("i", "t");
  for (let seq = 1; seq <= 200; seq++) {
    book.countBatch("i", batch(seq, 1, "success"), ALL);
    advance(1_000);
    book.advance();
  }
  await engine.flushLedger();
  store.close();
  const database = new Database(`${folder}/flagback.db`);
  const count = (sql: string) => database.prepare(sql).pluck().get() as number;
  const open = count("SELECT count(*) FROM open_ticks");
  const frozen = count("SELECT count(*) FROM frozen_ticks");
  const assigned = count("SELECT sum(candidate ->> '$.assigned') FROM frozen_ticks");
  database.close();
  // The default timeout is 60 s, so about that many of the 200 ticks are open.
  expect(open).toBeLessThan(70);
  expect(open + frozen).toBe(200);
  expect(assigned).toBe(frozen);
});

const report = { runId: "r", alias: "support-agent", version: CANDIDATE, status: "success" };

async function opened(folder: string, wrap: (store: Store) => Store = (store) => store, maxUnwrittenOutcomes?: number) {
  const store = openSqliteStore(`${folder}/flagback.db`);
  onTestFinished(() => store.close());
  const loaded = store.load({ history: 1_000, runs: 200_000 });
  const engine = new Engine({ store: wrap(store), loaded, now: Date.now });
  let nowMs = 0;
  const clock = new TickClock(loaded.tick + 1, () => nowMs);
  const book = new LedgerBook({ world: () => engine.world, clock, loaded, maxUnwrittenOutcomes });
  engine.attach(book);
  const advance = (ms: number) => {
    nowMs += ms;
  };
  return { store, engine, book, advance };
}

async function startRollout(engine: Engine): Promise<void> {
  await engine.execute(
    { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } },
    ACTOR,
  );
  await engine.execute({ kind: "apply", desired: parseConfig(SUPPORT_AGENT) }, ACTOR);
  await engine.execute({ kind: "startRollout", alias: "support-agent", candidate: CANDIDATE, reason: "" }, ACTOR);
}

function batch(seq: number, n: number, status: string, settled = n) {
  return {
    type: "outcomes" as const,
    seq,
    overdue: [],
    assigned: [{ alias: "support-agent", version: CANDIDATE, revision: 1_000, n }],
    items: Array.from({ length: settled }, (_, i) => ({ ...report, assignedSeq: seq, runId: `r${seq}-${i}`, status })),
  };
}
