/**
 * Feedback about runs: once for each id and alias, and the newest of each alias within a bound.
 */
import type { FeedbackSummary, StoredFeedback } from "@flagback/schemas";
import type Database from "better-sqlite3";
import type { Writes } from "./sqlite-writes.ts";
import type { FeedbackQuery, NumberedFeedback, Store } from "./store.ts";

/** Feedback kept of one alias; beyond it the oldest goes. */
const KEPT_FEEDBACK = 20_000;

type FeedbackStore = {
  [Call in "putFeedback" | "readFeedback" | "feedbackSummaries"]: (
    ...args: Parameters<Store[Call]>
  ) => Awaited<ReturnType<Store[Call]>>;
};

export function feedbackStore(database: Database.Database, writes: Writes): FeedbackStore {
  const sql = (text: string) => database.prepare(text);
  const insert = sql(`INSERT OR IGNORE INTO feedback (alias, id, version, run_id, quality, received_at, document)
    VALUES (?, ?, ?, ?, ?, ?, ?)`);
  const dropBeyond = sql(`DELETE FROM feedback WHERE alias = ? AND number <=
    (SELECT number FROM feedback WHERE alias = ? ORDER BY number DESC LIMIT 1 OFFSET ?)`);
  const summaries = sql(
    "SELECT version, count(*) AS count, avg(quality) AS quality FROM feedback WHERE alias = ? GROUP BY version ORDER BY version",
  );

  const put = writes.make("feedback", (feedback: readonly StoredFeedback[]) => {
    let stored = 0;
    for (const each of feedback) {
      const { alias, id, version, runId, quality = null, receivedAt } = each;
      stored += insert.run(alias, id, version, runId, quality, receivedAt, JSON.stringify(each)).changes;
    }
    let dropped = 0;
    for (const alias of new Set(feedback.map((each) => each.alias))) {
      dropped += dropBeyond.run(alias, alias, KEPT_FEEDBACK).changes;
    }
    return { duplicates: feedback.length - stored, dropped };
  });

  return {
    putFeedback: put,
    readFeedback: (query) => read(database, query),
    feedbackSummaries: (alias) => summaries.all(alias) as FeedbackSummary[],
  };
}

function read(
  database: Database.Database,
  { alias, version, runId, before, limit }: FeedbackQuery,
): NumberedFeedback[] {
  // A run has a few at most, so its index is the one to take whatever else is asked: `+` keeps SQLite from the others.
  const besides = runId === undefined ? "" : "+";
  const conditions = [
    [`${besides}alias = ?`, alias],
    [`${besides}version = ?`, version],
    ["run_id = ?", runId],
    ["number < ?", before],
  ].filter(([, value]) => value !== undefined);
  const where = conditions.length > 0 ? `WHERE ${conditions.map(([condition]) => condition).join(" AND ")}` : "";
  const rows = database
    .prepare(`SELECT number, document FROM feedback ${where} ORDER BY number DESC LIMIT ?`)
    .all(...conditions.map(([, value]) => value), limit) as { number: number; document: string }[];
  return rows.map(({ number, document }) => ({ number, ...(JSON.parse(document) as StoredFeedback) }));
}
