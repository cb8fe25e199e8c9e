/**
 * Everything that a start needs, read back.
 */
import type { AskedDecision } from "@flagback/schemas";
import type Database from "better-sqlite3";
import { loadLedger } from "./sqlite-ledger.ts";
import { parseIncident } from "./sqlite-read.ts";
import type { Loaded, StoredWebhook } from "./store.ts";

export function load(database: Database.Database, limits: { readonly history: number; readonly runs: number }): Loaded {
  const documents = <T>(kind: string): T[] =>
    database
      .prepare("SELECT document FROM documents WHERE kind = ? ORDER BY key")
      .pluck()
      .all(kind)
      .map((text) => JSON.parse(text as string) as T);
  const tokens = database.prepare("SELECT secret_hash AS secretHash, document FROM tokens").all() as {
    secretHash: string;
    document: string;
  }[];
  const history = database
    .prepare("SELECT revision, mark, touched FROM history ORDER BY revision DESC LIMIT ?")
    .all(limits.history) as { revision: number; mark: string; touched: string }[];
  return {
    epoch: database.prepare("SELECT value FROM meta WHERE key = 'epoch'").pluck().get() as string,
    aliases: documents("alias"),
    versions: documents("version"),
    killSwitches: documents("killSwitch"),
    flags: documents("flag"),
    triggers: documents("trigger"),
    checks: documents("checks"),
    releases: documents("release"),
    webhooks: documents<StoredWebhook>("webhook").map(completed),
    drills: database
      .prepare("SELECT document FROM drills ORDER BY number")
      .pluck()
      .all()
      .map((text) => JSON.parse(text as string)),
    decisions: database.prepare("SELECT id, incident FROM decisions").all() as Loaded["decisions"],
    lastRolloutNumbers: database
      .prepare(
        `SELECT key AS alias, json_extract(document, '$.rolloutNumber') AS rolloutNumber
         FROM documents WHERE kind = 'removedAlias'`,
      )
      .all() as Loaded["lastRolloutNumbers"],
    incidents: database.prepare("SELECT document FROM incidents").pluck().all().map(parseIncident),
    asked: database
      .prepare("SELECT document FROM asked_decisions ORDER BY opened_at")
      .pluck()
      .all()
      .map((text) => JSON.parse(text as string) as AskedDecision),
    history: history.reverse().map((row) => ({ ...row, touched: JSON.parse(row.touched) })),
    tokens: tokens.map((row) => ({ ...JSON.parse(row.document), secretHash: row.secretHash })),
    ...loadLedger(database, limits.runs),
  };
}

/** One that was made before there were formats and signatures. */
function completed(webhook: StoredWebhook): StoredWebhook {
  const { format = "standard", secrets = [] } = webhook;
  return { ...webhook, format, secrets };
}
