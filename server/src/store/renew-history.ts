/**
 * What tells a restored database from the one that it is a copy of.
 */
import Database from "better-sqlite3";
import { corrupt, isOurs, newEpoch, openProblem } from "./sqlite-open.ts";

/**
 * Numbers of audit rows and of alerts go on after a gap, so that none is given a second time to what happened after the
 * backup: whoever follows the audit log by number, or remembers an alert by it, would miss the new one.
 */
const NUMBER_GAP = 1_000_000;

/**
 * Checks every page of a database, and gives it a new epoch. Answers when its newest change was made; null where it has none.
 * @throws FlagbackError `database_corrupt`
 */
export function renewHistory(file: string, nowMs: number): string | null {
  let database: Database.Database | undefined;
  try {
    const opened = new Database(file, { timeout: 0 });
    database = opened;
    const problem = opened.pragma("integrity_check(1)", { simple: true });
    if (problem !== "ok") throw corrupt(file, String(problem));
    const at = new Date(nowMs).toISOString();
    return opened
      .transaction(() => {
        if (!isOurs(opened)) throw corrupt(file, "it is no database of flagback");
        opened.prepare("UPDATE meta SET value = ? WHERE key = 'epoch'").run(newEpoch());
        const newest = opened.prepare("SELECT max(timestamp) FROM audit").pluck().get() as string | null;
        for (const table of ["audit", "outbox"]) leaveGap(opened, table);
        opened
          .prepare("INSERT INTO audit (timestamp, actor, action, target, summary) VALUES (?, ?, ?, ?, ?)")
          .run(
            at,
            JSON.stringify({ kind: "system", name: "restore" }),
            "database.restore",
            "database",
            `Restored a backup whose newest entry is of ${newest ?? "no time"}.`,
          );
        return newest;
      })
      .immediate();
  } catch (error) {
    throw openProblem(file, error);
  } finally {
    database?.close();
  }
}

function leaveGap(database: Database.Database, table: string): void {
  const moved = database.prepare("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = ?").run(NUMBER_GAP, table);
  // A table that never had a row has no number yet.
  if (moved.changes === 0) database.prepare("INSERT INTO sqlite_sequence VALUES (?, ?)").run(table, NUMBER_GAP);
}
