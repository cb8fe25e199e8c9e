/**
 * The ledger's rows: counts by tick, the assignments that are still open, and each instance's last counted batch.
 */
import type { Ledger, TickCounts } from "@flagback/core";
import type Database from "better-sqlite3";
import type { AssignmentRow, LedgerKey, LedgerWrites, Loaded, RunRow } from "./store.ts";

/** Rows are per replica and summed; the embedded store has one. */
const REPLICA = "main";
/** Runs kept to recognise an outcome that is reported twice. */
const KEPT_RUNS = 200_000;
/** Older runs are dropped once so many have come. */
const PRUNE_EVERY = 10_000;
/** An instance that reported nothing for so many ticks (a week of the server's running) is forgotten at the next start. */
const KEPT_INSTANCE_TICKS = 7 * 86_400;

/** Writes counts as they are now. Its caller opens the transaction. */
export class LedgerWriter {
  readonly #statements;
  #runsSincePrune = 0;

  constructor(database: Database.Database) {
    const sql = (text: string) => database.prepare(text);
    this.#statements = {
      instance: sql(`INSERT INTO instances VALUES (?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET through = excluded.through, tick = excluded.tick`),
      assignment: sql(`INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET settled = excluded.settled`),
      closeAssignment: sql("DELETE FROM assignments WHERE instance = ? AND seq = ? AND alias = ? AND version = ?"),
      tick: sql("INSERT INTO ticks VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET counts = excluded.counts"),
      closeHeldTick: sql(`DELETE FROM ticks
        WHERE alias = ? AND version = ? AND rollout_number = ? AND tick = ? AND replica = ? AND held = 1`),
      ledger: sql(`INSERT INTO ledgers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
        ledger = excluded.ledger, through_tick = excluded.through_tick, assigned = excluded.assigned,
        settled = excluded.settled, missing = excluded.missing, failures = excluded.failures`),
      run: sql("INSERT OR IGNORE INTO runs (alias, run_id, version, rollout_number) VALUES (?, ?, ?, ?)"),
      pruneRuns: sql("DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - ?"),
      clock: sql("INSERT INTO meta VALUES ('tick', ?) ON CONFLICT DO UPDATE SET value = excluded.value"),
    };
  }

  write(writes: LedgerWrites): void {
    const { instance, assignment, closeAssignment, tick, closeHeldTick, ledger, run, clock } = this.#statements;
    for (const row of writes.instances) instance.run(row.instance, row.tokenId, row.through, writes.tick);
    for (const row of writes.assignments) {
      assignment.run(
        row.instance,
        row.seq,
        row.alias,
        row.version,
        row.rolloutNumber,
        row.tick,
        row.assigned,
        row.settled,
      );
    }
    for (const row of writes.closedAssignments) closeAssignment.run(row.instance, row.seq, row.alias, row.version);
    for (const row of writes.ticks) {
      const counts = JSON.stringify(row.counts);
      tick.run(row.alias, row.version, row.rolloutNumber, row.counts.tick, REPLICA, row.held ? 1 : 0, counts);
    }
    for (const row of writes.closedHeldTicks)
      closeHeldTick.run(row.alias, row.version, row.rolloutNumber, row.tick, REPLICA);
    for (const row of writes.ledgers) {
      const { assigned, settled, missing, failures } = row.totals;
      const text = JSON.stringify({ ...row.ledger, ticks: [] });
      const throughTick = row.ledger.prefix.throughTick;
      ledger.run(row.alias, row.version, row.rolloutNumber, text, throughTick, assigned, settled, missing, failures);
    }
    for (const row of writes.runs) run.run(row.alias, row.runId, row.version, row.rolloutNumber);
    clock.run(String(writes.tick));
    this.#runsSincePrune += writes.runs.length;
    if (this.#runsSincePrune >= PRUNE_EVERY) {
      this.#statements.pruneRuns.run(KEPT_RUNS);
      this.#runsSincePrune = 0;
    }
  }
}

/** Reads back what {@link LedgerWriter} wrote. */
export function loadLedger(
  database: Database.Database,
  runLimit: number,
): Pick<Loaded, "tick" | "instances" | "assignments" | "ledgers" | "runs"> {
  const ledgers = database
    .prepare(
      "SELECT alias, version, rollout_number AS rolloutNumber, ledger, assigned, settled, missing, failures FROM ledgers",
    )
    .all() as (LedgerKey & { ledger: string; assigned: number; settled: number; missing: number; failures: number })[];
  const openTicks = database
    .prepare(
      `SELECT counts FROM ticks WHERE alias = ? AND version = ? AND rollout_number = ? AND held = ? AND tick > ? ORDER BY tick`,
    )
    .pluck();
  const ticksOf = (key: LedgerKey, held: 0 | 1, after: number) =>
    openTicks
      .all(key.alias, key.version, key.rolloutNumber, held, after)
      .map((text) => JSON.parse(text as string) as TickCounts);
  const tick = database.prepare("SELECT value FROM meta WHERE key = 'tick'").pluck().get() as string | undefined;
  database.prepare("DELETE FROM instances WHERE tick < ?").run(Number(tick ?? 0) - KEPT_INSTANCE_TICKS);
  const runs = database
    .prepare(
      "SELECT alias, run_id AS runId, version, rollout_number AS rolloutNumber FROM runs ORDER BY id DESC LIMIT ?",
    )
    .all(runLimit) as RunRow[];
  return {
    tick: tick === undefined ? 0 : Number(tick),
    instances: database
      .prepare("SELECT instance, token_id AS tokenId, through FROM instances")
      .all() as Loaded["instances"],
    assignments: database
      .prepare(
        `SELECT instance, seq, alias, version, rollout_number AS rolloutNumber, tick, assigned, settled FROM assignments`,
      )
      .all() as AssignmentRow[],
    ledgers: ledgers.map(({ alias, version, rolloutNumber, ledger: text, ...totals }) => {
      const key = { alias, version, rolloutNumber };
      const ledger = JSON.parse(text) as Ledger;
      return {
        ...key,
        ledger,
        totals,
        open: ticksOf(key, 0, ledger.prefix.throughTick),
        held: ticksOf(key, 1, -1),
      };
    }),
    runs: runs.reverse(),
  };
}
