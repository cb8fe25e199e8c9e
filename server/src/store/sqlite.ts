/**
 * The embedded store: one SQLite file, one write connection, WAL, `synchronous=FULL` for changes and counts alike.
 */
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import type { CheckedAlias } from "@flagback/core";
import type { Drill } from "@flagback/schemas";
import Database from "better-sqlite3";
import { copyDatabase } from "./backup.ts";
import type { Reach } from "./failpoints.ts";
import { LedgerJournal } from "./ledger-journal.ts";
import { feedbackStore } from "./sqlite-feedback.ts";
import { LedgerWriter } from "./sqlite-ledger.ts";
import { load } from "./sqlite-load.ts";
import { corrupt, openDatabase, openProblem, unavailable } from "./sqlite-open.ts";
import { outboxStore } from "./sqlite-outbox.ts";
import { pruner } from "./sqlite-prune.ts";
import { readAudit, readDecision, readFrozenTicks, readIncidents } from "./sqlite-read.ts";
import { type StoreEvents, Writes } from "./sqlite-writes.ts";
import type {
  AnsweredRequest,
  Commit,
  PropagationRow,
  Store,
  StoredToken,
  StoredWebhook,
  WriteRecord,
} from "./store.ts";
import { Witness } from "./witness.ts";

const LINK_KEY_BYTES = 32;

export interface SqliteOptions extends StoreEvents {
  /** For tests that end or break the server at a write. */
  readonly reach?: Reach;
}

/**
 * Opens or creates the database.
 * @throws FlagbackError `database_in_use` where another process has it, `database_newer`, or `database_corrupt`.
 */
export function openSqliteStore(file: string, options: SqliteOptions = {}): Store {
  const database = openDatabase(file);
  try {
    const witness = new Witness(database);
    witness.write();
    return sqliteStore(database, options, witness);
  } catch (error) {
    database.close();
    throw openProblem(file, error);
  }
}

function sqliteStore(database: Database.Database, options: SqliteOptions, witness: Witness): Store {
  const written: StoreEvents["written"] = (write, ms) => {
    witness.note();
    options.written?.(write, ms);
  };
  const writes = new Writes(database, { ...options, written }, options.reach);
  const journal = new LedgerJournal(database);
  const ledger = new LedgerWriter(database, journal);
  const fold = writes.make("fold", () => journal.foldAll());
  const foldJournal = () => {
    fold();
    journal.kept();
  };
  const feedback = feedbackStore(database, writes);
  const sql = (text: string) => database.prepare(text);
  const statements = {
    putDocument: sql("INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document"),
    deleteDocument: sql("DELETE FROM documents WHERE kind = ? AND key = ?"),
    keepRolloutNumber: sql(`INSERT INTO documents
      SELECT 'removedAlias', key, json_object('rolloutNumber', json_extract(document, '$.rolloutNumber'))
      FROM documents WHERE kind = 'alias' AND key = ?
      ON CONFLICT DO UPDATE SET document = excluded.document`),
    putHistory: sql("INSERT INTO history (revision, mark, touched, at) VALUES (?, ?, ?, ?)"),
    putAudit:
      sql(`INSERT INTO audit (timestamp, actor, action, target, decision, reason, from_version, to_version, stage,
      decision_id, config_hash, incident, revision, summary, evidence, last_run_ids, coordination_id)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    putDecision: sql("INSERT INTO decisions (id, incident, document) VALUES (?, ?, ?)"),
    putIncident: sql(
      `INSERT INTO incidents (id, opened_at, document, detect_ms, decide_ms, outcomes_to_decision, snapshot)
        VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ),
    updateIncident: sql("UPDATE incidents SET document = ? WHERE id = ?"),
    putAsked: sql(
      "INSERT INTO asked_decisions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document",
    ),
    putCommitMs: sql("UPDATE incidents SET commit_ms = ? WHERE id = ?"),
    putPropagation: sql(
      "INSERT INTO propagation VALUES (?, ?) ON CONFLICT DO UPDATE SET switch_status = excluded.switch_status",
    ),
    putIdempotency: sql(
      "INSERT INTO idempotency (token_id, key, body_hash, answer, audit_id, at) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    findIdempotency: sql(
      "SELECT body_hash AS bodyHash, answer, audit_id AS auditId FROM idempotency WHERE token_id = ? AND key = ?",
    ),
    putToken: sql("INSERT INTO tokens VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document"),
    putLinkKey: sql("INSERT INTO meta VALUES ('linkKey', ?) ON CONFLICT DO NOTHING"),
    findLinkKey: sql("SELECT value FROM meta WHERE key = 'linkKey'").pluck(),
    dropAlerts: sql(`UPDATE outbox INDEXED BY outbox_in_order
      SET next_at_ms = NULL, last_error = 'the webhook was removed' WHERE webhook_id = ? AND next_at_ms IS NOT NULL`),
    putDrill: sql("INSERT INTO drills VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document"),
    deleteDrill: sql("DELETE FROM drills WHERE number = ?"),
    probe: sql("INSERT INTO meta VALUES ('probe', ?) ON CONFLICT DO UPDATE SET value = excluded.value"),
  };

  const insertAudit = (row: Commit["audit"][number]): number =>
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
        row.coordinationId ?? null,
      ).lastInsertRowid,
    );

  const insertAnswer = (request: AnsweredRequest, auditId: number | null, at: string): void => {
    const { tokenId, key, bodyHash, answer } = request;
    statements.putIdempotency.run(tokenId, key, bodyHash, JSON.stringify(answer), auditId, at);
  };
  const insertRecord = ({ audit, idempotency }: WriteRecord): void => {
    const auditId = insertAudit(audit);
    if (idempotency) insertAnswer(idempotency, auditId, audit.timestamp);
  };
  const outbox = outboxStore(database, writes, insertRecord);

  const commit = writes.make("change", (change: Commit): number => {
    // The counts that a decision was judged on come first, so that the decision can be replayed from the file.
    ledger.write(change.ledger, { folds: false });
    for (const version of change.versions) statements.putDocument.run("version", version.id, JSON.stringify(version));
    for (const alias of change.aliases) statements.putDocument.run("alias", alias.name, JSON.stringify(alias));
    for (const each of change.killSwitches) statements.putDocument.run("killSwitch", each.key, JSON.stringify(each));
    for (const flag of change.flags) statements.putDocument.run("flag", flag.key, JSON.stringify(flag));
    for (const each of change.triggers) statements.putDocument.run("trigger", each.id, JSON.stringify(each));
    for (const release of change.releases) statements.putDocument.run("release", release.name, JSON.stringify(release));
    for (const { kind, key } of change.deleted) {
      if (kind === "alias") statements.keepRolloutNumber.run(key);
      statements.deleteDocument.run(kind, key);
    }
    if (change.history) {
      const { revision, mark, touched } = change.history;
      statements.putHistory.run(revision, mark, JSON.stringify(touched), change.at);
      statements.putPropagation.run(revision, "pending");
    }
    for (const stop of change.stops) {
      const { decision, incident, detectMs, decideMs, outcomesToDecision, snapshot } = stop;
      statements.putDecision.run(decision.id, incident.id, JSON.stringify(decision));
      statements.putIncident.run(
        incident.id,
        incident.openedAt,
        JSON.stringify(incident),
        detectMs,
        decideMs,
        outcomesToDecision,
        snapshot ? JSON.stringify(snapshot) : null,
      );
    }
    for (const each of change.incidents) statements.updateIncident.run(JSON.stringify(each), each.id);
    for (const each of change.asked) statements.putAsked.run(each.id, each.openedAt, JSON.stringify(each));
    for (const alert of change.alerts) outbox.put(alert, change.at);
    // A change has at least one.
    const [auditId = 0] = change.audit.map(insertAudit);
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
  /** Answers when the rows were ready to be committed. */
  const writeLedger = writes.make("ledger", (rows: Parameters<Store["writeLedger"]>[0]) => {
    ledger.write(rows, { folds: true });
    return performance.now();
  });
  const writePropagation = writes.make("propagation", (rows: readonly PropagationRow[]) => {
    for (const row of rows) statements.putPropagation.run(row.revision, row.switchStatus);
  });
  const putToken = writes.make("token", ({ secretHash, ...token }: StoredToken, record?: WriteRecord) => {
    statements.putToken.run(token.id, secretHash, JSON.stringify(token));
    if (record) insertRecord(record);
  });
  const makeLinkKey = writes.make("token", () =>
    statements.putLinkKey.run(randomBytes(LINK_KEY_BYTES).toString("hex")),
  );
  const linkKey = (): string => {
    const found = () => statements.findLinkKey.get() as string | undefined;
    if (found() === undefined) makeLinkKey();
    return found() as string;
  };
  const putWebhook = writes.make("webhook", (webhook: StoredWebhook, record: WriteRecord) => {
    statements.putDocument.run("webhook", webhook.id, JSON.stringify(webhook));
    insertRecord(record);
  });
  const deleteWebhook = writes.make("webhook", (id: string, record: WriteRecord): boolean => {
    statements.dropAlerts.run(id);
    if (statements.deleteDocument.run("webhook", id).changes === 0) return false;
    insertRecord(record);
    return true;
  });

  // Told about runs and not judged by a statistic, as feedback is.
  const putChecks = writes.make("feedback", (checks: CheckedAlias) => {
    statements.putDocument.run("checks", checks.alias, JSON.stringify(checks));
  });
  const putDrill = writes.make("drill", (drill: Drill, tooMany: readonly number[] = []) => {
    statements.putDrill.run(drill.number, drill.alias, JSON.stringify(drill));
    for (const number of tooMany) statements.deleteDrill.run(number);
  });

  const guarded = guard(options.failed);
  return {
    load: (limits) => {
      try {
        foldJournal();
        return load(database, limits);
      } catch (error) {
        if (error instanceof SyntaxError) throw corrupt(database.name, "a row in it can't be read", error);
        throw openProblem(database.name, error);
      }
    },
    commit: guarded((change) => {
      const begun = performance.now();
      const auditId = commit(change);
      const commitMs = performance.now() - begun;
      journal.kept();
      for (const { incident } of change.stops) recordCommitMs(incident.id, commitMs);
      return { auditId, commitMs };
    }),
    writeLedger: guarded((rows) => {
      const readyMs = writeLedger(rows);
      const diskMs = performance.now() - readyMs;
      journal.kept();
      return diskMs;
    }),
    appendAudit: guarded(writes.make("audit", insertAudit)),
    writePropagation: guarded(writePropagation),
    readAudit: guarded((query) => readAudit(database, query)),
    findIdempotent: guarded((tokenId, key) => {
      const row = statements.findIdempotency.get(tokenId, key) as
        | { bodyHash: string; answer: string; auditId: number | null }
        | undefined;
      return row && { ...row, answer: JSON.parse(row.answer) as unknown };
    }),
    putIdempotent: guarded(writes.make("request", (request, at) => insertAnswer(request, null, at))),
    readIncidents: guarded((id) => readIncidents(database, id)),
    readDecision: guarded((id) => readDecision(database, id)),
    frozenTicks: guarded((rollout, page) => readFrozenTicks(database, rollout, page)),
    putChecks: guarded(putChecks),
    putFeedback: guarded(feedback.putFeedback),
    readFeedback: guarded(feedback.readFeedback),
    feedbackSummaries: guarded(feedback.feedbackSummaries),
    linkKey: guarded(linkKey),
    putToken: guarded(putToken),
    putDrill: guarded(putDrill),
    alertsOf: guarded(outbox.alertsOf),
    putWebhook: guarded(putWebhook),
    deleteWebhook: guarded(deleteWebhook),
    dueAlerts: guarded(outbox.dueAlerts),
    alertDelivered: guarded(outbox.alertDelivered),
    alertFailed: guarded(outbox.alertFailed),
    lastDelivery: guarded(outbox.lastDelivery),
    outboxDepth: guarded(outbox.outboxDepth),
    deadLetters: guarded(outbox.deadLetters),
    readDeliveries: guarded(outbox.readDeliveries),
    redeliver: guarded(outbox.redeliver),
    prune: guarded(pruner(database, writes, journal)),
    probe: guarded(
      writes.make("probe", (bytes) => {
        statements.probe.run("x".repeat(bytes));
      }),
    ),
    copyTo: (file) => copyDatabase(database, file),
    freeBytes: async () => {
      const { bavail, bsize } = await statfs(dirname(database.name));
      return bavail * bsize;
    },
    sizeBytes: async () => sizeOf(database.name) + sizeOf(`${database.name}-wal`),
    close: () => {
      if (!database.open) return;
      try {
        foldJournal();
      } catch {
        // It is as durable as it was; the next start folds it.
      }
      witness.write();
      database.close();
    },
  };
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** Makes a synchronous call the port's promise, and says what a failing disk means. */
function guard(failed: StoreEvents["failed"]) {
  return <Args extends unknown[], Result>(call: (...args: Args) => Result): ((...args: Args) => Promise<Result>) =>
    async (...args) => {
      try {
        return call(...args);
      } catch (error) {
        if (!(error instanceof Database.SqliteError)) throw error;
        // A broken rule of the schema is our fault and not the disk's.
        if (!error.code.startsWith("SQLITE_CONSTRAINT")) failed?.(error);
        throw unavailable(error);
      }
    };
}
