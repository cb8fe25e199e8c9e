/**
 * The schema's history. Forward only; `user_version` counts the steps that a file has taken.
 */
import { FlagbackError } from "@flagback/schemas";
import type Database from "better-sqlite3";

const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE documents (
    kind TEXT NOT NULL, key TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (kind, key)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE history (revision INTEGER PRIMARY KEY, mark TEXT NOT NULL, touched TEXT NOT NULL, at TEXT NOT NULL) STRICT;
  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    target TEXT NOT NULL, decision TEXT, reason TEXT, from_version TEXT, to_version TEXT, stage TEXT,
    decision_id TEXT, config_hash TEXT, incident TEXT, revision INTEGER, summary TEXT NOT NULL,
    evidence TEXT, last_run_ids TEXT
  ) STRICT;
  CREATE INDEX audit_by_target ON audit (target, id);
  CREATE INDEX audit_by_decision ON audit (decision_id) WHERE decision_id IS NOT NULL;
  CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;
  CREATE TABLE propagation (revision INTEGER PRIMARY KEY, switch_status TEXT NOT NULL) STRICT;
  CREATE TABLE decisions (id TEXT PRIMARY KEY, incident TEXT NOT NULL, document TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE incidents (
    id TEXT PRIMARY KEY, opened_at TEXT NOT NULL, document TEXT NOT NULL, decide_ms REAL, commit_ms REAL,
    outcomes_to_decision INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, webhook_id TEXT NOT NULL, body TEXT NOT NULL, created_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, next_at_ms INTEGER, delivered_at TEXT, last_error TEXT
  ) STRICT;
  CREATE INDEX outbox_due ON outbox (next_at_ms) WHERE next_at_ms IS NOT NULL;
  CREATE TABLE tokens (id TEXT PRIMARY KEY, secret_hash TEXT NOT NULL, document TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE idempotency (
    token_id TEXT NOT NULL, key TEXT NOT NULL, body_hash TEXT NOT NULL, answer TEXT NOT NULL, audit_id INTEGER,
    at TEXT NOT NULL, PRIMARY KEY (token_id, key)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE instances (
    instance TEXT PRIMARY KEY, token_id TEXT NOT NULL, through INTEGER NOT NULL, tick INTEGER NOT NULL,
    lost_since INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE assignments (
    instance TEXT NOT NULL, seq INTEGER NOT NULL, alias TEXT NOT NULL, version TEXT NOT NULL,
    rollout_number INTEGER NOT NULL, tick INTEGER NOT NULL, assigned INTEGER NOT NULL, settled INTEGER NOT NULL,
    overdue TEXT NOT NULL, PRIMARY KEY (instance, seq, alias, version)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE ledgers (
    alias TEXT NOT NULL, rollout_number INTEGER NOT NULL, ledger TEXT NOT NULL, PRIMARY KEY (alias, rollout_number)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE totals (
    alias TEXT NOT NULL, version TEXT NOT NULL, rollout_number INTEGER NOT NULL, assigned INTEGER NOT NULL,
    settled INTEGER NOT NULL, missing INTEGER NOT NULL, failures INTEGER NOT NULL,
    PRIMARY KEY (alias, version, rollout_number)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE open_ticks (
    alias TEXT NOT NULL, rollout_number INTEGER NOT NULL, tick INTEGER NOT NULL, held INTEGER NOT NULL,
    arm TEXT NOT NULL, runtime TEXT NOT NULL, replica TEXT NOT NULL, counts TEXT NOT NULL,
    PRIMARY KEY (alias, rollout_number, held, tick, arm, runtime, replica)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE frozen_ticks (
    alias TEXT NOT NULL, rollout_number INTEGER NOT NULL, tick INTEGER NOT NULL, replica TEXT NOT NULL,
    candidate TEXT NOT NULL, stable TEXT NOT NULL, PRIMARY KEY (alias, rollout_number, tick, replica)
  ) STRICT, WITHOUT ROWID;
  -- One row for each group commit and version; through is how many runs were counted up to its last one.
  CREATE TABLE runs (
    through INTEGER PRIMARY KEY, alias TEXT NOT NULL, version TEXT NOT NULL, rollout_number INTEGER NOT NULL,
    run_ids TEXT NOT NULL
  ) STRICT;
  CREATE TABLE feedback (
    number INTEGER PRIMARY KEY AUTOINCREMENT, alias TEXT NOT NULL, id TEXT NOT NULL, version TEXT NOT NULL,
    run_id TEXT NOT NULL, quality REAL, received_at TEXT NOT NULL, document TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX feedback_once ON feedback (alias, id);
  CREATE INDEX feedback_by_alias ON feedback (alias, number);
  `,
  // What a group commit changes in the tables instances, assignments, ledgers, totals and open_ticks, until it is folded in.
  `
  CREATE TABLE ledger_journal (number INTEGER PRIMARY KEY, changes TEXT NOT NULL) STRICT;
  `,
  // For retention: what is oldest is found at once, and no audit row goes before its term.
  `
  CREATE INDEX idempotency_by_age ON idempotency (at);
  CREATE INDEX outbox_delivered ON outbox (delivered_at) WHERE delivered_at IS NOT NULL;
  CREATE INDEX outbox_given_up ON outbox (created_at) WHERE next_at_ms IS NULL AND delivered_at IS NULL;
  CREATE INDEX incidents_by_age ON incidents (opened_at);
  CREATE INDEX decisions_by_incident ON decisions (incident);
  CREATE INDEX frozen_ticks_by_age ON frozen_ticks (tick);
  CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
    WHEN OLD.timestamp >= coalesce((SELECT value FROM meta WHERE key = 'auditKeptSince'), '')
    BEGIN SELECT RAISE(ABORT, 'audit rows are append-only'); END;
  `,
  // A runtime that holds a revision believes that every later change has a higher one.
  `
  CREATE TRIGGER history_only_grows BEFORE INSERT ON history
    WHEN NEW.revision <= (SELECT max(revision) FROM history)
    BEGIN SELECT RAISE(ABORT, 'revisions only grow'); END;
  `,
  `
  ALTER TABLE incidents ADD COLUMN detect_ms REAL;
  `,
  `
  ALTER TABLE incidents ADD COLUMN snapshot TEXT;
  `,
  // Alerts of one topic, an incident or an alias, are delivered in their order, and tried again until a moment of their own.
  `
  ALTER TABLE outbox ADD COLUMN topic TEXT;
  ALTER TABLE outbox ADD COLUMN retry_until_ms INTEGER;
  UPDATE outbox SET topic = coalesce(body ->> '$.incident', 'alias:' || (body ->> '$.alias'));
  CREATE INDEX outbox_in_order ON outbox (webhook_id, topic, id) WHERE next_at_ms IS NOT NULL;
  CREATE INDEX outbox_by_webhook ON outbox (webhook_id, id);
  `,
  `
  CREATE TABLE asked_decisions (id TEXT PRIMARY KEY, opened_at TEXT NOT NULL, document TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX asked_decisions_by_age ON asked_decisions (opened_at);
  `,
  `
  CREATE TABLE drills (number INTEGER PRIMARY KEY, alias TEXT NOT NULL, document TEXT NOT NULL) STRICT;
  `,
  `
  ALTER TABLE audit ADD COLUMN coordination_id TEXT;
  `,
  // What people ask of tables that grow is found at once; but for the topic nothing here is written with a rollback.
  `
  CREATE INDEX feedback_by_run ON feedback (run_id, number);
  CREATE INDEX feedback_by_version ON feedback (version, number);
  CREATE INDEX feedback_summed ON feedback (alias, version, number, quality);
  CREATE INDEX outbox_by_topic ON outbox (topic, id) WHERE topic IS NOT NULL;
  CREATE INDEX outbox_tried ON outbox (webhook_id, next_at_ms IS NOT NULL, id) WHERE attempts > 0;
  CREATE INDEX outbox_dead ON outbox (webhook_id, id) WHERE next_at_ms IS NULL AND delivered_at IS NULL;
  `,
];

/** @throws FlagbackError `database_newer` where a newer flagback wrote the file. */
export function assertNotNewer(database: Database.Database, file: string): void {
  const version = versionOf(database);
  if (version <= MIGRATIONS.length) return;
  throw new FlagbackError({
    code: "database_newer",
    message: `${file} has schema ${version}; this flagback knows schemas up to ${MIGRATIONS.length}.`,
    hint: "Start the flagback version that wrote it, or a newer one. Nothing was changed.",
  });
}

/** Brings a file to the newest schema. @throws FlagbackError `database_newer` */
export function migrate(database: Database.Database, file: string): void {
  assertNotNewer(database, file);
  for (let step = versionOf(database); step < MIGRATIONS.length; step++) {
    database.transaction(() => {
      database.exec(MIGRATIONS[step] as string);
      database.pragma(`user_version = ${step + 1}`);
    })();
  }
}

function versionOf(database: Database.Database): number {
  return database.pragma("user_version", { simple: true }) as number;
}
