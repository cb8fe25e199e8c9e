/**
 * Reads that serve people: the audit log, the incidents, and decisions with what they were judged on.
 */
import type { AuditEvent, Decision, Incident } from "@flagback/schemas";
import type Database from "better-sqlite3";
import type { RolloutKey } from "./ledger-writes.ts";
import type { AuditQuery, FrozenTick, StoredIncident, TickPage } from "./store.ts";

export function readAudit(database: Database.Database, query: AuditQuery): AuditEvent[] {
  const conditions: string[] = [];
  const values: (string | number)[] = [];
  const where = (condition: string, value: string | number | undefined) => {
    if (value === undefined) return;
    conditions.push(condition);
    values.push(value);
  };
  where("audit.id > ?", query.after);
  where("target = ?", query.target);
  where("decision_id = ?", query.decisionId);
  const filter = conditions.length > 0 ? `WHERE ${conditions.join(" AND ")}` : "";
  // With a cursor the rows after it, else the newest; ascending either way.
  const order = query.after === undefined ? "DESC" : "ASC";
  const rows = database
    .prepare(
      `SELECT audit.*, propagation.switch_status FROM audit LEFT JOIN propagation USING (revision)
       ${filter} ORDER BY audit.id ${order} LIMIT ?`,
    )
    .all(...values, query.limit) as AuditRow[];
  if (order === "DESC") rows.reverse();
  return rows.map(auditEvent);
}

export function readIncidents(database: Database.Database, id: string | undefined): StoredIncident[] {
  const rows = database
    .prepare(
      id === undefined
        ? `SELECT document, detect_ms, decide_ms, commit_ms, outcomes_to_decision FROM incidents ORDER BY opened_at DESC`
        : "SELECT * FROM incidents WHERE id = ?",
    )
    .all(...(id === undefined ? [] : [id])) as {
    document: string;
    detect_ms: number | null;
    decide_ms: number | null;
    commit_ms: number | null;
    outcomes_to_decision: number | null;
    snapshot?: string | null;
  }[];
  return rows.map((row) => ({
    incident: parseIncident(row.document),
    timings: { detectMs: row.detect_ms, decideMs: row.decide_ms, commitMs: row.commit_ms ?? 0 },
    outcomesToDecision: row.outcomes_to_decision,
    ...(row.snapshot ? { snapshot: JSON.parse(row.snapshot) } : {}),
  }));
}

/** Incidents of an earlier schema have no timeline. */
export function parseIncident(text: unknown): Incident {
  return { timeline: [], ...JSON.parse(text as string) };
}

export function readDecision(database: Database.Database, id: string): Decision | undefined {
  const text = database.prepare("SELECT document FROM decisions WHERE id = ?").pluck().get(id) as string | undefined;
  return text === undefined ? undefined : (JSON.parse(text) as Decision);
}

export function readFrozenTicks(
  database: Database.Database,
  { alias, rolloutNumber }: RolloutKey,
  { after = Number.MIN_SAFE_INTEGER, through = Number.MAX_SAFE_INTEGER, limit }: TickPage,
): FrozenTick[] {
  const rows = database
    .prepare(`SELECT tick, candidate, stable FROM frozen_ticks
      WHERE alias = ? AND rollout_number = ? AND tick > ? AND tick <= ? ORDER BY tick LIMIT ?`)
    .all(alias, rolloutNumber, after, through, limit) as { tick: number; candidate: string; stable: string }[];
  return rows.map(({ tick, candidate, stable }) => ({
    tick,
    candidate: JSON.parse(candidate),
    stable: JSON.parse(stable),
  }));
}

interface AuditRow {
  readonly id: number;
  readonly timestamp: string;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly decision: "allow" | "stop" | null;
  readonly reason: string | null;
  readonly from_version: string | null;
  readonly to_version: string | null;
  readonly stage: string | null;
  readonly decision_id: string | null;
  readonly config_hash: string | null;
  readonly incident: string | null;
  readonly revision: number | null;
  readonly summary: string;
  readonly evidence: string | null;
  readonly last_run_ids: string | null;
  readonly coordination_id: string | null;
  readonly switch_status: string | null;
}

function auditEvent(row: AuditRow): AuditEvent {
  const present = <T>(value: T | null): T | undefined => value ?? undefined;
  return {
    id: row.id,
    timestamp: row.timestamp,
    actor: JSON.parse(row.actor),
    action: row.action,
    target: row.target,
    decision: present(row.decision),
    reason: present(row.reason),
    fromVersion: present(row.from_version),
    toVersion: present(row.to_version),
    stage: present(row.stage),
    switchStatus: present(row.switch_status),
    evidence: row.evidence === null ? undefined : JSON.parse(row.evidence),
    lastRunIds: row.last_run_ids === null ? undefined : JSON.parse(row.last_run_ids),
    decisionId: present(row.decision_id),
    configHash: present(row.config_hash),
    incident: present(row.incident),
    coordinationId: present(row.coordination_id),
    revision: present(row.revision),
    summary: row.summary,
  };
}
