/**
 * Drops rows that are past their term, the oldest first and few at a time. The history's marks stay for ever.
 */
import type Database from "better-sqlite3";
import type { LedgerJournal } from "./ledger-journal.ts";
import type { Writes } from "./sqlite-writes.ts";
import type { Pruned, PruneStep } from "./store.ts";

type Ids = Database.Statement<unknown[], string>;

/** What is logged and not yet folded would come back: it is dropped from `journal`, too. */
export function pruner(
  database: Database.Database,
  writes: Writes,
  journal: LedgerJournal,
): (step: PruneStep) => Pruned {
  const sql = (text: string) => database.prepare(text);
  const audit = auditPruner(database);
  const alerts = sql(`DELETE FROM outbox WHERE id IN
    (SELECT id FROM outbox WHERE delivered_at < ? ORDER BY delivered_at LIMIT ?)`);
  const deadLetters = sql(`DELETE FROM outbox WHERE id IN (SELECT id FROM outbox
    WHERE next_at_ms IS NULL AND delivered_at IS NULL AND created_at < ? ORDER BY created_at LIMIT ?)`);
  // Numbers and times grow together.
  const feedback = sql(`DELETE FROM feedback WHERE received_at < ? AND number IN
    (SELECT number FROM feedback ORDER BY number LIMIT ?)`);
  const requests = sql(`DELETE FROM idempotency WHERE (token_id, key) IN
    (SELECT token_id, key FROM idempotency WHERE at < ? ORDER BY at LIMIT ?)`);
  const overIncidents = sql(`SELECT id FROM incidents WHERE opened_at < ?
    AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY opened_at LIMIT ?`).pluck() as Ids;
  const dropIncident = sql("DELETE FROM incidents WHERE id = ?");
  const dropDecision = sql("DELETE FROM decisions WHERE incident = ?");
  const overAsked = sql(`DELETE FROM asked_decisions WHERE id IN (SELECT id FROM asked_decisions WHERE opened_at < ?
    AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY opened_at LIMIT ?) RETURNING id`).pluck() as Ids;
  const ledgers = sql(oldRollouts("ledgers", "alias, rollout_number"));
  const totals = sql(oldRollouts("totals", "alias, version, rollout_number"));

  const rowsOnly = (rows: number): Pruned => ({ rows, ids: [] });
  const prune = (step: PruneStep): Pruned => {
    const { rows } = step;
    switch (step.what) {
      case "audit":
        return rowsOnly(audit(step.before, rows));
      case "alerts":
        return rowsOnly(alerts.run(step.before, rows).changes);
      case "feedback":
        return rowsOnly(feedback.run(step.before, rows).changes);
      case "requests":
        return rowsOnly(requests.run(step.before, rows).changes);
      case "incidents": {
        const except = JSON.stringify(step.except);
        const over = overIncidents.all(step.before, except, rows);
        for (const id of over) {
          dropIncident.run(id);
          dropDecision.run(id);
        }
        const ids = [...over, ...overAsked.all(step.before, except, rows - over.length)];
        // An alert that nobody took is the last word of its incident.
        return { rows: ids.length + deadLetters.run(step.before, rows - ids.length).changes, ids };
      }
      case "rollouts": {
        const { alias, through } = step;
        const except = JSON.stringify(step.except);
        journal.drop((name, number) => name === alias && Math.abs(number) <= through && !step.except.includes(number));
        const dropped = ledgers.run(alias, through, through, except, rows).changes;
        return rowsOnly(dropped + totals.run(alias, through, through, except, rows - dropped).changes);
      }
    }
  };
  const transaction = writes.make("retention", prune);
  return (step) => {
    const pruned = transaction(step);
    if (step.what === "rollouts") journal.kept();
    return pruned;
  };
}

function auditPruner(database: Database.Database): (before: string, rows: number) => number {
  const oldest = database.prepare("SELECT id, timestamp, revision FROM audit ORDER BY id LIMIT ?");
  const allow = database.prepare(`INSERT INTO meta VALUES ('auditKeptSince', ?)
    ON CONFLICT DO UPDATE SET value = max(value, excluded.value)`);
  const drop = database.prepare("DELETE FROM audit WHERE id = ?");
  const dropPropagation = database.prepare("DELETE FROM propagation WHERE revision = ?");
  return (before, rows) => {
    const found = oldest.all(rows) as { id: number; timestamp: string; revision: number | null }[];
    const old = found.filter(({ timestamp }) => timestamp < before);
    if (old.length === 0) return 0;
    allow.run(before);
    for (const { id, revision } of old) {
      drop.run(id);
      if (revision !== null) dropPropagation.run(revision);
    }
    return old.length;
  };
}

/** Deletes from a table with rows of rollouts and of their recoveries, which have the negative number, found by its primary key, which begins with the alias. */
function oldRollouts(table: string, key: string): string {
  return `DELETE FROM ${table} WHERE (${key}) IN (SELECT ${key} FROM ${table}
    WHERE alias = ? AND rollout_number BETWEEN -? AND ? AND rollout_number NOT IN (SELECT value FROM json_each(?)) LIMIT ?)`;
}
