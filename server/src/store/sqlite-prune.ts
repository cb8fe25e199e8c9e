/**
 * Drops rows that are past their term, the oldest first and few at a time. The history's marks stay for ever.
 */
import type Database from "better-sqlite3";
import type { Writes } from "./sqlite-writes.ts";
import type { PruneStep } from "./store.ts";

/** Answers how many rows a step dropped; fewer than it might have means that nothing is left. */
export function pruner(database: Database.Database, writes: Writes): (step: PruneStep) => number {
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
  // One that still holds a kill switch engaged, or is of an alias's latest rollout, is not over.
  const overIncidents = sql(`SELECT id FROM incidents WHERE opened_at < ?
    AND NOT EXISTS (SELECT 1 FROM documents WHERE kind = 'killSwitch'
      AND instr(documents.document, '"incident:' || incidents.id || '"') > 0)
    AND NOT EXISTS (SELECT 1 FROM documents WHERE kind = 'alias' AND key = incidents.document ->> '$.alias'
      AND documents.document ->> '$.rolloutNumber' = incidents.document ->> '$.rolloutNumber')
    ORDER BY opened_at LIMIT ?`).pluck();
  const dropIncident = sql("DELETE FROM incidents WHERE id = ?");
  const dropDecision = sql("DELETE FROM decisions WHERE incident = ?");
  const ledgers = sql(rolloutsOf("ledgers", "alias, rollout_number"));
  const totals = sql(rolloutsOf("totals", "alias, version, rollout_number"));

  const prune = (step: PruneStep): number => {
    if (step.what === "rollouts") {
      const { newest, rows } = step;
      const dropped = ledgers.run(newest, rows).changes;
      return dropped + totals.run(newest, rows - dropped).changes;
    }
    const { what, before, rows } = step;
    switch (what) {
      case "audit":
        return audit(before, rows);
      case "alerts":
        return alerts.run(before, rows).changes;
      case "feedback":
        return feedback.run(before, rows).changes;
      case "requests":
        return requests.run(before, rows).changes;
      case "incidents": {
        const over = overIncidents.all(before, rows);
        for (const id of over) {
          dropIncident.run(id);
          dropDecision.run(id);
        }
        // An alert that nobody took is the last word of its incident.
        return over.length + deadLetters.run(before, rows - over.length).changes;
      }
    }
  };
  return writes.make("retention", prune);
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

/** Counts of rollouts that are over: older than the newest few of their alias, with nothing open in them. */
function rolloutsOf(table: string, columns: string): string {
  return `
    WITH newest AS MATERIALIZED
      (SELECT key AS alias, document ->> '$.rolloutNumber' AS number FROM documents WHERE kind = 'alias')
    DELETE FROM ${table} WHERE (${columns}) IN (
      SELECT ${columns} FROM ${table} JOIN newest USING (alias) WHERE rollout_number <= number - ?
      AND NOT EXISTS (SELECT 1 FROM open_ticks WHERE open_ticks.alias = ${table}.alias
        AND open_ticks.rollout_number = ${table}.rollout_number)
      AND NOT EXISTS (SELECT 1 FROM assignments WHERE assignments.alias = ${table}.alias
        AND assignments.rollout_number = ${table}.rollout_number)
      LIMIT ?)`;
}
