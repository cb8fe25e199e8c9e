/**
 * The ledger's rows: counts by tick, the assignments that are still open, and each instance's last counted batch.
 */
import type { Arm, CountsRow, Ledger } from "@flagback/core";
import type Database from "better-sqlite3";
import type { LedgerJournal } from "./ledger-journal.ts";
import { REPLICA } from "./ledger-rows.ts";
import type { AssignmentRow, LedgerKey, LedgerTotals, LedgerWrites, RolloutKey, RunsRow } from "./ledger-writes.ts";
import type { Loaded } from "./store.ts";

/** Runs kept to recognise an outcome that is reported twice. */
const KEPT_RUNS = 200_000;
/** An instance that reported nothing for so many ticks (a week of the server's running) is forgotten at the next start. */
const KEPT_INSTANCE_TICKS = 7 * 86_400;
/** Sums of frozen ticks are kept for a day of the server's running, to check a decision's prefix against. */
const KEPT_FROZEN_TICKS = 86_400;
/** For each that comes so many older ones may go, so that they get fewer and no write has many to drop. */
const FROZEN_DROPPED_PER_NEW = 2;

/** Writes counts as they are now: most of them into the journal. Its caller opens the transaction. */
export class LedgerWriter {
  readonly #journal: LedgerJournal;
  readonly #statements;

  constructor(database: Database.Database, journal: LedgerJournal) {
    const sql = (text: string) => database.prepare(text);
    this.#journal = journal;
    this.#statements = {
      freeze: sql("INSERT INTO frozen_ticks VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"),
      pruneFrozen: sql(`DELETE FROM frozen_ticks WHERE (alias, rollout_number, tick, replica) IN
        (SELECT alias, rollout_number, tick, replica FROM frozen_ticks WHERE tick < ? ORDER BY tick LIMIT ?)`),
      runs: sql("INSERT INTO runs VALUES (?, ?, ?, ?, ?)"),
      runsThrough: sql("SELECT max(through) FROM runs").pluck(),
      pruneRuns: sql("DELETE FROM runs WHERE through <= ?"),
      clock: sql(`INSERT INTO meta VALUES ('tick', ?)
        ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value`),
    };
  }

  /** `folds` where nobody waits for the transaction but the counts themselves. */
  write(writes: LedgerWrites, { folds }: { readonly folds: boolean }): void {
    const { freeze, clock, pruneFrozen } = this.#statements;
    this.#journal.append(writes, { folds });
    for (const { alias, rolloutNumber, tick, candidate, stable } of writes.frozen) {
      freeze.run(alias, rolloutNumber, tick, REPLICA, JSON.stringify(candidate), JSON.stringify(stable));
    }
    if (writes.runs.length > 0) this.#writeRuns(writes.runs);
    clock.run(String(writes.tick));
    if (writes.frozen.length > 0) {
      pruneFrozen.run(writes.tick - KEPT_FROZEN_TICKS, FROZEN_DROPPED_PER_NEW * writes.frozen.length);
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

/** Reads back what {@link LedgerWriter} wrote, once the journal is folded. */
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
