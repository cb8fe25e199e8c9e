/**
 * The ledger's rows: counts by tick, the assignments that are still open, and each instance's last counted batch.
 */
import type { Arm, CountsRow, Ledger } from "@flagback/core";
import type Database from "better-sqlite3";
import type { AssignmentRow, LedgerKey, LedgerTotals, LedgerWrites, Loaded, RolloutKey, RunsRow } from "./store.ts";

/** Rows are per replica and summed; the embedded store has one. */
const REPLICA = "main";
/** Runs kept to recognise an outcome that is reported twice. */
const KEPT_RUNS = 200_000;
/** An instance that reported nothing for so many ticks (a week of the server's running) is forgotten at the next start. */
const KEPT_INSTANCE_TICKS = 7 * 86_400;
/** Sums of frozen ticks are kept for a day of the server's running, to check a decision's prefix against. */
const KEPT_FROZEN_TICKS = 86_400;
/** Older ones are dropped once in so many ticks. */
const PRUNE_FROZEN_EVERY = 600;

/** Writes counts as they are now. Its caller opens the transaction. */
export class LedgerWriter {
  readonly #statements;
  #nextFrozenPrune = 0;

  constructor(database: Database.Database) {
    const sql = (text: string) => database.prepare(text);
    this.#statements = {
      instance: sql(`INSERT INTO instances VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
        through = excluded.through, tick = excluded.tick, lost_since = excluded.lost_since`),
      assignment: sql(`INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET
        assigned = excluded.assigned, settled = excluded.settled, overdue = excluded.overdue`),
      closeAssignment: sql("DELETE FROM assignments WHERE instance = ? AND seq = ? AND alias = ? AND version = ?"),
      counts: sql(`INSERT INTO open_ticks VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET counts = excluded.counts`),
      closeHeldTick: sql("DELETE FROM open_ticks WHERE alias = ? AND rollout_number = ? AND held = 1 AND tick = ?"),
      freeze: sql("INSERT INTO frozen_ticks VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"),
      pruneFrozen: sql("DELETE FROM frozen_ticks WHERE tick < ?"),
      closeTick: sql("DELETE FROM open_ticks WHERE alias = ? AND rollout_number = ? AND held = 0 AND tick = ?"),
      ledger: sql("INSERT INTO ledgers VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET ledger = excluded.ledger"),
      totals: sql(`INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
        assigned = excluded.assigned, settled = excluded.settled, missing = excluded.missing, failures = excluded.failures`),
      runs: sql("INSERT INTO runs VALUES (?, ?, ?, ?, ?)"),
      runsThrough: sql("SELECT max(through) FROM runs").pluck(),
      pruneRuns: sql("DELETE FROM runs WHERE through <= ?"),
      clock: sql("INSERT INTO meta VALUES ('tick', ?) ON CONFLICT DO UPDATE SET value = excluded.value"),
    };
  }

  write(writes: LedgerWrites): void {
    const { instance, assignment, closeAssignment, counts, closeHeldTick, freeze, closeTick } = this.#statements;
    const { ledger, totals, clock } = this.#statements;
    for (const row of writes.instances)
      instance.run(row.instance, row.tokenId, row.through, writes.tick, row.lostSince);
    for (const row of writes.assignments) {
      const { alias, version, rolloutNumber, tick, assigned, settled } = row;
      assignment.run(
        row.instance,
        row.seq,
        alias,
        version,
        rolloutNumber,
        tick,
        assigned,
        settled,
        JSON.stringify(row.overdue),
      );
    }
    for (const row of writes.closedAssignments) closeAssignment.run(row.instance, row.seq, row.alias, row.version);
    for (const { alias, rolloutNumber, isHeld, row } of writes.counts) {
      const { arm, tick, runtime, ...rest } = row;
      counts.run(alias, rolloutNumber, tick, isHeld ? 1 : 0, arm, runtime, REPLICA, JSON.stringify(rest));
    }
    for (const row of writes.closedHeldTicks) closeHeldTick.run(row.alias, row.rolloutNumber, row.tick);
    for (const { alias, rolloutNumber, tick, candidate, stable } of writes.frozen) {
      freeze.run(alias, rolloutNumber, tick, REPLICA, JSON.stringify(candidate), JSON.stringify(stable));
      closeTick.run(alias, rolloutNumber, tick);
    }
    for (const row of writes.ledgers) {
      ledger.run(row.alias, row.rolloutNumber, JSON.stringify({ ...row.ledger, ticks: [] }));
    }
    for (const { alias, version, rolloutNumber, totals: sums } of writes.totals) {
      totals.run(alias, version, rolloutNumber, sums.assigned, sums.settled, sums.missing, sums.failures);
    }
    if (writes.runs.length > 0) this.#writeRuns(writes.runs);
    clock.run(String(writes.tick));
    if (writes.frozen.length > 0 && writes.tick >= this.#nextFrozenPrune) {
      this.#statements.pruneFrozen.run(writes.tick - KEPT_FROZEN_TICKS);
      this.#nextFrozenPrune = writes.tick + PRUNE_FROZEN_EVERY;
    }
  }

  #writeRuns(rows: LedgerWrites["runs"]): void {
    const { runs, runsThrough, pruneRuns } = this.#statements;
    // Read anew, because the last write may have been rolled back.
    let through = Number(runsThrough.get() ?? 0);
    for (const { alias, version, rolloutNumber, runIds } of rows) {
      through += runIds.length;
      runs.run(through, alias, version, rolloutNumber, JSON.stringify(runIds));
    }
    pruneRuns.run(through - KEPT_RUNS);
  }
}

/** Reads back what {@link LedgerWriter} wrote. */
export function loadLedger(
  database: Database.Database,
  runLimit: number,
): Pick<Loaded, "tick" | "instances" | "assignments" | "ledgers" | "totals" | "counts" | "runs"> {
  const tick = Number(database.prepare("SELECT value FROM meta WHERE key = 'tick'").pluck().get() ?? 0);
  database.prepare("DELETE FROM instances WHERE tick < ?").run(tick - KEPT_INSTANCE_TICKS);
  const all = <Row>(sql: string, ...values: number[]) => database.prepare(sql).all(...values) as Row[];
  const ledgers = all<RolloutKey & { ledger: string }>(
    "SELECT alias, rollout_number AS rolloutNumber, ledger FROM ledgers",
  );
  const totals = all<LedgerKey & LedgerTotals>(
    "SELECT alias, version, rollout_number AS rolloutNumber, assigned, settled, missing, failures FROM totals",
  );
  const counts = all<RolloutKey & { tick: number; held: number; arm: Arm; runtime: string; counts: string }>(
    "SELECT alias, rollout_number AS rolloutNumber, tick, held, arm, runtime, counts FROM open_ticks ORDER BY tick",
  );
  return {
    tick,
    instances: all("SELECT instance, token_id AS tokenId, through, lost_since AS lostSince FROM instances"),
    assignments: all<Omit<AssignmentRow, "overdue"> & { overdue: string }>(
      "SELECT instance, seq, alias, version, rollout_number AS rolloutNumber, tick, assigned, settled, overdue FROM assignments",
    ).map((row) => ({ ...row, overdue: JSON.parse(row.overdue) as AssignmentRow["overdue"] })),
    ledgers: ledgers.map(({ ledger, ...key }) => ({ ...key, ledger: JSON.parse(ledger) as Ledger })),
    totals: totals.map(({ alias, version, rolloutNumber, ...sums }) => ({
      alias,
      version,
      rolloutNumber,
      totals: sums,
    })),
    counts: counts.map(({ alias, rolloutNumber, tick, held, arm, runtime, counts: text }) => ({
      alias,
      rolloutNumber,
      isHeld: held === 1,
      row: { tick, arm, runtime, ...JSON.parse(text) } as CountsRow,
    })),
    runs: all<Omit<RunsRow, "runIds"> & { runIds: string }>(
      `SELECT alias, version, rollout_number AS rolloutNumber, run_ids AS runIds FROM runs
        WHERE through > (SELECT max(through) FROM runs) - ? ORDER BY through`,
      runLimit,
    ).map(({ runIds, ...key }) => ({ ...key, runIds: JSON.parse(runIds) as string[] })),
  };
}
