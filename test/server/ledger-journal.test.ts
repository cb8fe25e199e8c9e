import type { Counts, Ledger } from "@flagback/core";
import Database from "better-sqlite3";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { LedgerJournal } from "../../server/src/store/ledger-journal.ts";
import { type LedgerWrites, NO_LEDGER_WRITES } from "../../server/src/store/ledger-writes.ts";
import { migrate } from "../../server/src/store/migrations.ts";
import { openSqliteStore } from "../../server/src/store/sqlite.ts";
import { testFolder } from "../support/server.ts";

const NOTHING: LedgerWrites = { ...NO_LEDGER_WRITES, tick: 1 };

const NO_COUNTS: Counts = {
  assigned: 0,
  settled: 0,
  missing: 0,
  lost: 0,
  excluded: { cancelled: 0, blocked: 0, client: 0, policy: 0, isDefault: 0 },
  guardrails: [],
};

const few = fc.integer({ min: 0, max: 3 });
const rollout = fc.record({ alias: fc.constantFrom("a", "b"), rolloutNumber: fc.integer({ min: 1, max: 2 }) });
const instance = few.map((n) => `i${n}`);
const assignmentName = fc.record({ instance, seq: few, alias: fc.constant("a"), version: fc.constant("a@1") });
const sums = fc.record({ assigned: fc.nat(), settled: fc.nat(), missing: fc.nat(), failures: fc.nat() });
const tickOf = fc.tuple(rollout, few).map(([key, tick]) => ({ ...key, tick }));
const counts = fc
  .tuple(rollout, fc.boolean(), fc.constantFrom("candidate" as const, "stable" as const), few, instance, fc.nat())
  .map(([key, isHeld, arm, tick, runtime, assigned]) => ({
    ...key,
    isHeld,
    row: { arm, tick, runtime, ...NO_COUNTS, assigned },
  }));

/** Any group of counts; what it says need not make sense. */
const group: fc.Arbitrary<LedgerWrites> = fc
  .record({
    instances: fc.array(
      fc.record({ instance, tokenId: fc.constant("t"), through: fc.nat(), lostSince: fc.option(few) }),
      { maxLength: 4 },
    ),
    assignments: fc.array(
      fc
        .tuple(assignmentName, few, fc.nat())
        .map(([name, tick, assigned]) => ({ ...name, rolloutNumber: 1, tick, assigned, settled: 0, overdue: {} })),
      { maxLength: 3 },
    ),
    closedAssignments: fc.array(assignmentName, { maxLength: 3 }),
    counts: fc.array(counts, { maxLength: 5 }),
    closedHeldTicks: fc.array(tickOf, { maxLength: 1 }),
    frozen: fc.array(
      tickOf.map((key) => ({ ...key, candidate: NO_COUNTS, stable: NO_COUNTS })),
      { maxLength: 1 },
    ),
    ledgers: fc.array(
      // What is in one is none of the journal's business.
      fc.tuple(rollout, fc.nat()).map(([key, n]) => ({ ...key, ledger: { n, ticks: [] } as unknown as Ledger })),
      { maxLength: 2 },
    ),
    totals: fc.array(
      fc.tuple(rollout, sums).map(([key, totals]) => ({ ...key, version: "a@1", totals })),
      { maxLength: 2 },
    ),
  })
  .map((rows) => ({ ...NOTHING, ...rows }));

/** What happens to a group, and whether a rollout's counts are dropped or the server starts again after it. */
const event = fc.record({
  dropped: fc.option(rollout),
  group,
  folds: fc.boolean(),
  end: fc.constantFrom("committed" as const, "rolled back" as const, "committed and not told" as const),
  restarts: fc.boolean(),
});

test("after any commits, failed ones and crashes, the tables are as if each group had written its rows", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 30 }), fc.constantFrom(1, 500, 5_000), (events, foldEveryLength) => {
      const database = emptyDatabase();
      const model = new Model();
      let journal = new LedgerJournal(database, foldEveryLength);
      let lost: LedgerWrites[] = [];
      for (const { group: each, folds, end, dropped, restarts } of events) {
        // What the server was not told to be durable it writes again, before anything else of it.
        for (const again of lost) write(database, journal, again, folds, "committed");
        for (const again of lost) model.write(again);
        lost = [];
        write(database, journal, each, folds, end);
        if (end === "committed") model.write(each);
        else lost.push(each);
        // Nothing comes between a commit and its being told but a crash.
        if (dropped && end !== "committed and not told") {
          drop(database, journal, dropped);
          model.drop(dropped);
        }
        if (!restarts) continue;
        // A crash: what was committed and not told is there, and what was not committed is gone.
        if (end === "committed and not told") model.write(each);
        lost = [];
        journal = new LedgerJournal(database, foldEveryLength);
        foldAll(database, journal);
        expect(tablesOf(database)).toEqual(model.tables());
      }
      for (const again of lost) write(database, journal, again, false, "committed");
      for (const again of lost) model.write(again);
      foldAll(database, journal);
      expect(tablesOf(database)).toEqual(model.tables());
      expect(groupsIn(database)).toBe(0);
      database.close();
    }),
    { numRuns: 300 },
  );
});

test("what was dropped while it was on its way into the tables does not come back, also after a crash", () => {
  const database = emptyDatabase();
  onTestFinished(() => void database.close());
  // The first group is as long as this, so that the fold begins after it; then 16 rows are folded beside each other.
  const foldEveryLength = 2_000;
  const journal = new LedgerJournal(database, foldEveryLength);
  const totals = Array.from({ length: 100 }, (_, n) => ({
    alias: "a",
    rolloutNumber: n + 1,
    version: "a@1",
    totals: { assigned: 1, settled: 1, missing: 0, failures: 0 },
  }));
  const instances = [{ instance: "i", tokenId: "t", through: 1, lostSince: null }];
  const numbers = () => tablesOf(database).totals.map(([, , rolloutNumber]) => rolloutNumber);
  write(database, journal, { ...NOTHING, totals }, true, "committed");
  write(database, journal, { ...NOTHING, instances }, true, "committed");
  expect(numbers()).toHaveLength(16);
  expect(numbers()).not.toContain(90);
  drop(database, journal, { alias: "a", rolloutNumber: 90 });
  for (let n = 0; n < 8; n++) {
    write(database, journal, { ...NOTHING, instances }, true, "committed");
    expect(numbers()).not.toContain(90);
  }
  expect(numbers()).toHaveLength(99);
  // Another start folds what the database holds.
  foldAll(database, new LedgerJournal(database, foldEveryLength));
  expect(numbers()).toHaveLength(99);
  expect(numbers()).not.toContain(90);
});

test("a journal under steady load is folded while it grows, and so stays within twice its length", () => {
  const database = emptyDatabase();
  onTestFinished(() => void database.close());
  const foldEveryLength = 20_000;
  const journal = new LedgerJournal(database, foldEveryLength);
  let longest = 0;
  for (let through = 1; through <= 2_000; through++) {
    const instances = [0, 1, 2].map((n) => ({
      instance: `i${(through + n) % 50}`,
      tokenId: "t",
      through,
      lostSince: null,
    }));
    write(database, journal, { ...NOTHING, instances }, true, "committed");
    const length = database.prepare("SELECT sum(length(changes)) FROM ledger_journal").pluck().get() as number;
    longest = Math.max(longest, length);
  }
  expect(longest).toBeGreaterThan(foldEveryLength);
  expect(longest).toBeLessThan(2 * foldEveryLength);
  // Most of what was logged is in the table, though nobody has folded the rest yet.
  expect(database.prepare("SELECT max(through) FROM instances").pluck().get()).toBeGreaterThan(1_000);
});

test("a control change logs its counts and folds none of the others'", () => {
  const database = emptyDatabase();
  onTestFinished(() => void database.close());
  const journal = new LedgerJournal(database, 1);
  const of = (name: string): LedgerWrites => ({
    ...NOTHING,
    instances: [{ instance: name, tokenId: "t", through: 1, lostSince: null }],
  });
  write(database, journal, of("counted"), true, "committed");
  write(database, journal, of("with a change"), false, "committed");
  expect(tablesOf(database).instances).toEqual([]);
  write(database, journal, of("counted after it"), true, "committed");
  expect(tablesOf(database).instances).toEqual([["counted", "t", 1, 1, null]]);
});

test("a copy of a running database has the counts that its journal holds, and so has one of the schema before it", async () => {
  const folder = await testFolder();
  const store = openSqliteStore(`${folder}/flagback.db`);
  onTestFinished(() => store.close());
  store.load({ history: 1, runs: 10 });
  const writes: LedgerWrites = {
    ...NOTHING,
    instances: [{ instance: "i", tokenId: "t", through: 7, lostSince: null }],
    totals: [
      { alias: "a", rolloutNumber: 1, version: "a@1", totals: { assigned: 3, settled: 2, missing: 1, failures: 0 } },
    ],
    tick: 12,
  };
  await store.writeLedger(writes);
  await store.copyTo(`${folder}/copy.db`);
  expect(loadedFrom(`${folder}/copy.db`)).toMatchObject(countsOf(writes));

  // Closed, the copy's tables hold everything; without the journal's table it is as an older flagback left it.
  const database = new Database(`${folder}/copy.db`);
  database.exec(`DROP TABLE ledger_journal; DROP TRIGGER audit_is_kept; DROP TRIGGER history_only_grows;
    DROP INDEX idempotency_by_age; DROP INDEX outbox_delivered; DROP INDEX outbox_given_up;
    DROP INDEX incidents_by_age; DROP INDEX decisions_by_incident; DROP INDEX frozen_ticks_by_age;
    ALTER TABLE incidents DROP COLUMN detect_ms; ALTER TABLE incidents DROP COLUMN snapshot;
    DROP INDEX outbox_in_order; DROP INDEX outbox_by_webhook; DROP TABLE asked_decisions; DROP TABLE drills;
    ALTER TABLE audit DROP COLUMN coordination_id;
    DROP INDEX feedback_by_run; DROP INDEX feedback_by_version; DROP INDEX feedback_summed;
    DROP INDEX outbox_by_topic; DROP INDEX outbox_tried; DROP INDEX outbox_dead;
    ALTER TABLE outbox DROP COLUMN topic; ALTER TABLE outbox DROP COLUMN retry_until_ms;
    PRAGMA user_version = 1`);
  database.close();
  expect(loadedFrom(`${folder}/copy.db`)).toMatchObject(countsOf(writes));
});

function countsOf({ instances, totals, tick }: LedgerWrites) {
  return { instances, totals, tick };
}

function loadedFrom(file: string) {
  const store = openSqliteStore(file);
  try {
    return store.load({ history: 1, runs: 10 });
  } finally {
    store.close();
  }
}

function emptyDatabase(): Database.Database {
  const database = new Database(":memory:");
  migrate(database, ":memory:");
  return database;
}

function write(
  database: Database.Database,
  journal: LedgerJournal,
  writes: LedgerWrites,
  folds: boolean,
  end: "committed" | "rolled back" | "committed and not told",
): void {
  database.exec("BEGIN");
  journal.append(writes, { folds });
  database.exec(end === "rolled back" ? "ROLLBACK" : "COMMIT");
  if (end === "committed") journal.kept();
}

/** As retention does it. */
function drop(
  database: Database.Database,
  journal: LedgerJournal,
  { alias, rolloutNumber }: { readonly alias: string; readonly rolloutNumber: number },
): void {
  database.exec("BEGIN");
  journal.drop((name, number) => name === alias && number === rolloutNumber);
  for (const table of ["ledgers", "totals"]) {
    database.prepare(`DELETE FROM ${table} WHERE alias = ? AND rollout_number = ?`).run(alias, rolloutNumber);
  }
  database.exec("COMMIT");
  journal.kept();
}

function foldAll(database: Database.Database, journal: LedgerJournal): void {
  database.exec("BEGIN");
  journal.foldAll();
  database.exec("COMMIT");
  journal.kept();
}

function groupsIn(database: Database.Database): unknown {
  return database.prepare("SELECT count(*) FROM ledger_journal").pluck().get();
}

const TABLES = ["instances", "assignments", "open_ticks", "ledgers", "totals"] as const;
type Tables = Record<(typeof TABLES)[number], unknown[][]>;

function tablesOf(database: Database.Database): Tables {
  const rows = (table: string) => database.prepare(`SELECT * FROM ${table}`).raw().all() as unknown[][];
  return Object.fromEntries(TABLES.map((table) => [table, sorted(rows(table))])) as Tables;
}

function sorted(rows: unknown[][]): unknown[][] {
  return rows
    .map((row) => JSON.stringify(row))
    .sort()
    .map((text) => JSON.parse(text) as unknown[]);
}

/** The tables, if each group wrote its rows at once. */
class Model {
  readonly #tables = {
    instances: new Map(),
    assignments: new Map(),
    open_ticks: new Map(),
    ledgers: new Map(),
    totals: new Map(),
  };

  drop({ alias, rolloutNumber }: { readonly alias: string; readonly rolloutNumber: number }): void {
    this.#tables.ledgers.delete([alias, rolloutNumber].join());
    this.#tables.totals.delete([alias, "a@1", rolloutNumber].join());
  }

  write(writes: LedgerWrites): void {
    const { instances, assignments, open_ticks, ledgers, totals } = this.#tables;
    for (const { instance: name, tokenId, through, lostSince } of writes.instances)
      instances.set(name, [name, tokenId, through, writes.tick, lostSince]);
    for (const row of writes.assignments) {
      const name = [row.instance, row.seq, row.alias, row.version];
      assignments.set(name.join(), [...name, row.rolloutNumber, row.tick, row.assigned, row.settled, "{}"]);
    }
    for (const row of writes.closedAssignments)
      assignments.delete([row.instance, row.seq, row.alias, row.version].join());
    for (const { alias, rolloutNumber, isHeld, row } of writes.counts) {
      const { arm, tick, runtime, ...rest } = row;
      const key = [alias, rolloutNumber, tick, isHeld ? 1 : 0, arm, runtime, "main"];
      open_ticks.set(key.join(), [...key, JSON.stringify(rest)]);
    }
    const close = (held: number, closed: { alias: string; rolloutNumber: number; tick: number }) => {
      const prefix = [closed.alias, closed.rolloutNumber, closed.tick, held, ""].join();
      for (const key of [...open_ticks.keys()]) if (key.startsWith(prefix)) open_ticks.delete(key);
    };
    for (const tick of writes.closedHeldTicks) close(1, tick);
    for (const tick of writes.frozen) close(0, tick);
    for (const { alias, rolloutNumber, ledger } of writes.ledgers)
      ledgers.set([alias, rolloutNumber].join(), [alias, rolloutNumber, JSON.stringify(ledger)]);
    for (const { alias, version, rolloutNumber, totals: each } of writes.totals)
      totals.set([alias, version, rolloutNumber].join(), [alias, version, rolloutNumber, ...Object.values(each)]);
  }

  tables(): Tables {
    const entries = Object.entries(this.#tables).map(([table, rows]) => [table, sorted([...rows.values()])]);
    return Object.fromEntries(entries) as Tables;
  }
}
