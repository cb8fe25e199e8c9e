/**
 * The embedded store: one SQLite file, one write connection, WAL, `synchronous=FULL` for changes and counts alike.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { FlagbackError, type Webhook } from "@flagback/schemas";
import Database from "better-sqlite3";
import { migrate } from "./migrations.ts";
import { feedbackStore } from "./sqlite-feedback.ts";
import { LedgerWriter, loadLedger } from "./sqlite-ledger.ts";
import { readAudit, readDecision, readIncidents } from "./sqlite-read.ts";
import type { AnsweredRequest, Commit, Loaded, Store, StoredToken, WriteRecord } from "./store.ts";

/** Pages kept in memory, in KiB. The working set is the open ticks and the newest runs. */
const CACHE_KIB = 32 * 1024;
/** The WAL is folded into the file every so many pages: seldom enough to batch, often enough to stay small. */
const CHECKPOINT_PAGES = 2_000;
/** A repeated `Idempotency-Key` is recognised for at least a day. */
const KEPT_IDEMPOTENCY_MS = 86_400_000;
/** Delivered alerts are kept for 30 days; dead letters until somebody looks. */
const KEPT_DELIVERED_MS = 30 * 86_400_000;

/**
 * Opens or creates the database.
 * @throws FlagbackError `database_in_use` where another process has it, `database_newer`, or `database_corrupt`.
 */
export function openSqliteStore(file: string): Store {
  mkdirSync(dirname(file), { recursive: true });
  const database = open(file);
  try {
    return sqliteStore(database);
  } catch (error) {
    database.close();
    throw error;
  }
}

function open(file: string): Database.Database {
  let database: Database.Database | undefined;
  try {
    database = new Database(file, { timeout: 0 });
    // An exclusive lock keeps a second server off the file for as long as this process lives.
    database.pragma("locking_mode = EXCLUSIVE");
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma(`cache_size = -${CACHE_KIB}`);
    database.pragma(`wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    database.exec("BEGIN IMMEDIATE; COMMIT");
    const check = database.pragma("quick_check(1)", { simple: true });
    if (check !== "ok") throw corrupt(file, String(check));
    migrate(database, file);
    return database;
  } catch (error) {
    database?.close();
    throw openProblem(file, error);
  }
}

function openProblem(file: string, error: unknown): unknown {
  if (error instanceof FlagbackError || !(error instanceof Database.SqliteError)) return error;
  if (error.code.startsWith("SQLITE_BUSY") || error.code.startsWith("SQLITE_LOCKED")) {
    return new FlagbackError(
      {
        code: "database_in_use",
        message: `${file} is in use by another process.`,
        hint: "One server owns a database; stop the other one, or give this one its own --data-dir.",
      },
      { cause: error },
    );
  }
  if (error.code === "SQLITE_NOTADB" || error.code.startsWith("SQLITE_CORRUPT"))
    return corrupt(file, error.message, error);
  return unavailable(error);
}

function corrupt(file: string, what: string, cause?: unknown): FlagbackError {
  return new FlagbackError(
    {
      code: "database_corrupt",
      message: `${file} is damaged: ${what}.`,
      hint: "Restore a copy, or move the file away to start empty. Nothing was changed.",
    },
    { cause },
  );
}

function unavailable(error: unknown): FlagbackError {
  return new FlagbackError(
    {
      code: "database_unavailable",
      message: `The database can't be used: ${(error as Error).message}.`,
      hint: "Check the disk's space and health. Nothing of this change was written; what is held is still served.",
    },
    { cause: error },
  );
}

function sqliteStore(database: Database.Database): Store {
  const ledger = new LedgerWriter(database);
  const feedback = feedbackStore(database);
  const sql = (text: string) => database.prepare(text);
  const statements = {
    putDocument: sql("INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document"),
    deleteDocument: sql("DELETE FROM documents WHERE kind = ? AND key = ?"),
    putHistory: sql("INSERT INTO history (revision, mark, touched, at) VALUES (?, ?, ?, ?)"),
    putAudit:
      sql(`INSERT INTO audit (timestamp, actor, action, target, decision, reason, from_version, to_version, stage,
      decision_id, config_hash, incident, revision, summary, evidence, last_run_ids)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    putDecision: sql("INSERT INTO decisions (id, incident, document) VALUES (?, ?, ?)"),
    putIncident: sql(
      "INSERT INTO incidents (id, opened_at, document, decide_ms, outcomes_to_decision) VALUES (?, ?, ?, ?, ?)",
    ),
    putCommitMs: sql("UPDATE incidents SET commit_ms = ? WHERE id = ?"),
    putAlert: sql(`INSERT INTO outbox (webhook_id, body, created_at, next_at_ms)
      SELECT key, ?, ?, 0 FROM documents WHERE kind = 'webhook'`),
    putPropagation: sql(
      "INSERT INTO propagation VALUES (?, ?) ON CONFLICT DO UPDATE SET switch_status = excluded.switch_status",
    ),
    putIdempotency: sql(
      "INSERT INTO idempotency (token_id, key, body_hash, answer, audit_id, at) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    pruneIdempotency: sql("DELETE FROM idempotency WHERE at < ?"),
    findIdempotency: sql(
      "SELECT body_hash AS bodyHash, answer, audit_id AS auditId FROM idempotency WHERE token_id = ? AND key = ?",
    ),
    putToken: sql("INSERT INTO tokens VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document"),
    dueAlerts: sql(`SELECT id, body, attempts FROM outbox
      WHERE webhook_id = ? AND next_at_ms IS NOT NULL AND next_at_ms <= ? ORDER BY id LIMIT ?`),
    dropAlerts: sql(`UPDATE outbox SET next_at_ms = NULL, last_error = 'the webhook was removed'
      WHERE webhook_id = ? AND next_at_ms IS NOT NULL`),
    alertDelivered: sql("UPDATE outbox SET delivered_at = ?, next_at_ms = NULL, attempts = attempts + 1 WHERE id = ?"),
    alertFailed: sql("UPDATE outbox SET last_error = ?, next_at_ms = ?, attempts = attempts + 1 WHERE id = ?"),
    outboxDepth: sql("SELECT count(*) AS depth FROM outbox WHERE next_at_ms IS NOT NULL"),
    probe: sql("INSERT INTO meta VALUES ('probe', ?) ON CONFLICT DO UPDATE SET value = excluded.value"),
  };

  const insertAudit = (row: Commit["audit"]): number =>
    Number(
      statements.putAudit.run(
        row.timestamp,
        JSON.stringify(row.actor),
        row.action,
        row.target,
        row.decision ?? null,
        row.reason ?? null,
        row.fromVersion ?? null,
        row.toVersion ?? null,
        row.stage ?? null,
        row.decisionId ?? null,
        row.configHash ?? null,
        row.incident ?? null,
        row.revision ?? null,
        row.summary,
        row.evidence ? JSON.stringify(row.evidence) : null,
        row.lastRunIds ? JSON.stringify(row.lastRunIds) : null,
      ).lastInsertRowid,
    );

  const insertAnswer = (request: AnsweredRequest, auditId: number | null, at: string): void => {
    const { tokenId, key, bodyHash, answer } = request;
    statements.putIdempotency.run(tokenId, key, bodyHash, JSON.stringify(answer), auditId, at);
    statements.pruneIdempotency.run(new Date(Date.parse(at) - KEPT_IDEMPOTENCY_MS).toISOString());
  };
  const insertRecord = ({ audit, idempotency }: WriteRecord): void => {
    const auditId = insertAudit(audit);
    if (idempotency) insertAnswer(idempotency, auditId, audit.timestamp);
  };

  const commit = database.transaction((change: Commit): number => {
    // The counts that a decision was judged on come first, so that the decision can be replayed from the file.
    ledger.write(change.ledger);
    for (const version of change.versions) statements.putDocument.run("version", version.id, JSON.stringify(version));
    for (const alias of change.aliases) statements.putDocument.run("alias", alias.name, JSON.stringify(alias));
    for (const each of change.killSwitches) statements.putDocument.run("killSwitch", each.key, JSON.stringify(each));
    for (const flag of change.flags) statements.putDocument.run("flag", flag.key, JSON.stringify(flag));
    for (const key of change.deletedFlags) statements.deleteDocument.run("flag", key);
    if (change.history) {
      const { revision, mark, touched } = change.history;
      statements.putHistory.run(revision, mark, JSON.stringify(touched), change.at);
      statements.putPropagation.run(revision, "pending");
    }
    if (change.decision && change.incident) {
      const { incident, decideMs, outcomesToDecision } = change.incident;
      statements.putDecision.run(change.decision.id, incident.id, JSON.stringify(change.decision));
      statements.putIncident.run(
        incident.id,
        incident.openedAt,
        JSON.stringify(incident),
        decideMs,
        outcomesToDecision,
      );
    }
    for (const alert of change.alerts) statements.putAlert.run(JSON.stringify(alert), change.at);
    const auditId = insertAudit(change.audit);
    if (change.idempotency) insertAnswer(change.idempotency, auditId, change.at);
    return auditId;
  });
  /** Measured after the fact, so it can't be part of the transaction that it measures, nor fail it. */
  const recordCommitMs = (incident: string, commitMs: number) => {
    try {
      statements.putCommitMs.run(commitMs, incident);
    } catch {
      // The incident stays without this one figure.
    }
  };
  const writeLedger = database.transaction((writes: Parameters<Store["writeLedger"]>[0]) => ledger.write(writes));
  const writePropagation = database.transaction((rows: Parameters<Store["writePropagation"]>[0]) => {
    for (const row of rows) statements.putPropagation.run(row.revision, row.switchStatus);
  });

  const putIdempotent = database.transaction((request: AnsweredRequest, at: string) => insertAnswer(request, null, at));
  const putToken = database.transaction(({ secretHash, ...token }: StoredToken, record?: WriteRecord) => {
    statements.putToken.run(token.id, secretHash, JSON.stringify(token));
    if (record) insertRecord(record);
  });
  const putWebhook = database.transaction((webhook: Webhook, record: WriteRecord) => {
    statements.putDocument.run("webhook", webhook.id, JSON.stringify(webhook));
    insertRecord(record);
  });
  const deleteWebhook = database.transaction((id: string, record: WriteRecord): boolean => {
    statements.dropAlerts.run(id);
    if (statements.deleteDocument.run("webhook", id).changes === 0) return false;
    insertRecord(record);
    return true;
  });

  return {
    load: (limits) => load(database, limits),
    commit: guarded((change) => {
      const begun = performance.now();
      const auditId = commit.immediate(change);
      const commitMs = performance.now() - begun;
      if (change.incident) recordCommitMs(change.incident.incident.id, commitMs);
      return { auditId, commitMs };
    }),
    writeLedger: guarded((writes) => writeLedger.immediate(writes)),
    appendAudit: guarded((row) => insertAudit(row)),
    writePropagation: guarded((rows) => writePropagation.immediate(rows)),
    readAudit: guarded((query) => readAudit(database, query)),
    findIdempotent: guarded((tokenId, key) => {
      const row = statements.findIdempotency.get(tokenId, key) as
        | { bodyHash: string; answer: string; auditId: number | null }
        | undefined;
      return row && { ...row, answer: JSON.parse(row.answer) as unknown };
    }),
    putIdempotent: guarded((request, at) => putIdempotent.immediate(request, at)),
    readIncidents: guarded((id) => readIncidents(database, id)),
    readDecision: guarded((id) => readDecision(database, id)),
    putFeedback: guarded(feedback.putFeedback),
    readFeedback: guarded(feedback.readFeedback),
    feedbackSummaries: guarded(feedback.feedbackSummaries),
    putToken: guarded((token, record) => putToken.immediate(token, record)),
    putWebhook: guarded((webhook, record) => putWebhook.immediate(webhook, record)),
    deleteWebhook: guarded((id, record) => deleteWebhook.immediate(id, record)),
    dueAlerts: guarded((webhookId, nowMs, limit) =>
      (statements.dueAlerts.all(webhookId, nowMs, limit) as { id: number; body: string; attempts: number }[]).map(
        (row) => ({ ...row, body: JSON.parse(row.body) as unknown }),
      ),
    ),
    alertDelivered: guarded((id, at) => {
      statements.alertDelivered.run(at, id);
    }),
    alertFailed: guarded((id, error, nextAtMs) => {
      statements.alertFailed.run(error, nextAtMs, id);
    }),
    outboxDepth: guarded(() => (statements.outboxDepth.get() as { depth: number }).depth),
    probe: guarded(() => {
      statements.probe.run(String(Date.now()));
    }),
    close: () => {
      database.close();
    },
  };
}

/** Runs a synchronous call as the port's promise, and says what a failing disk means. */
function guarded<Args extends unknown[], Result>(call: (...args: Args) => Result): (...args: Args) => Promise<Result> {
  return async (...args) => {
    try {
      return call(...args);
    } catch (error) {
      throw error instanceof Database.SqliteError ? unavailable(error) : error;
    }
  };
}

function load(database: Database.Database, limits: { readonly history: number; readonly runs: number }): Loaded {
  const keptSince = new Date(Date.now() - KEPT_DELIVERED_MS).toISOString();
  database.prepare("DELETE FROM outbox WHERE delivered_at < ?").run(keptSince);
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
    epoch: epochOf(database),
    aliases: documents("alias"),
    versions: documents("version"),
    killSwitches: documents("killSwitch"),
    flags: documents("flag"),
    webhooks: documents("webhook"),
    decisions: database.prepare("SELECT id, incident FROM decisions").all() as Loaded["decisions"],
    history: history.reverse().map((row) => ({ ...row, touched: JSON.parse(row.touched) })),
    tokens: tokens.map((row) => ({ ...JSON.parse(row.document), secretHash: row.secretHash })),
    ...loadLedger(database, limits.runs),
  };
}

/** The database's random id, made when it is first opened. */
function epochOf(database: Database.Database): string {
  database.prepare("INSERT INTO meta VALUES ('epoch', ?) ON CONFLICT DO NOTHING").run(randomBytes(16).toString("hex"));
  return database.prepare("SELECT value FROM meta WHERE key = 'epoch'").pluck().get() as string;
}
