/**
 * The metrics of one server, each beginning with `flagback_` (DESIGN 11). docs/operations/metrics.md says what each means
 * and what its labels may be; a test compares the two.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { DROP_REASONS } from "../limits.ts";

/** From what one runtime takes to apply a change, to how long an incident lasts. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 1_800, 7_200];
/** Requests are bounded by their timeouts, so fewer buckets tell as much. */
const REQUEST_SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30];

/** One after the other. */
export const ROLLBACK_PHASES = ["detect", "decide", "commit", "converge", "recover"] as const;
export type RollbackPhase = (typeof ROLLBACK_PHASES)[number];

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: "flagback_" });
  const metrics = { registry, ...rolloutMetrics(registers), ...streamMetrics(registers), ...serverMetrics(registers) };
  beginAtZero(metrics);
  return metrics;
}

/** A series that begins at 1 is no increase to Prometheus, so the first one of what is known beforehand would not be seen. */
function beginAtZero(
  metrics: Pick<Metrics, "rollbackSeconds" | "leases" | "dropped" | "alerts" | "authFailures">,
): void {
  for (const phase of ROLLBACK_PHASES) metrics.rollbackSeconds.zero({ phase });
  for (const event of ["granted", "lapsed"]) metrics.leases.inc({ event }, 0);
  for (const reason of DROP_REASONS) metrics.dropped.inc({ reason }, 0);
  for (const result of ["delivered", "failed", "given_up"]) metrics.alerts.inc({ result }, 0);
  for (const result of ["refused", "slowed"]) metrics.authFailures.inc({ result }, 0);
}

/** What the brain sees and does. */
function rolloutMetrics(registers: Registry[]) {
  return {
    outcomes: new Counter({
      name: "flagback_outcomes_total",
      help: "Outcomes counted since the start, each once.",
      labelNames: ["alias", "version", "status"],
      registers,
    }),
    reports: new Counter({
      name: "flagback_outcome_reports_total",
      help: "Outcomes reported, by what became of them.",
      labelNames: ["result"],
      registers,
    }),
    feedback: new Counter({
      name: "flagback_feedback_total",
      help: "Feedback about runs that can no longer be judged, by what became of it.",
      labelNames: ["result"],
      registers,
    }),
    syntheticChecks: new Counter({
      name: "flagback_synthetic_checks_total",
      help: "Synthetic checks, by what they said.",
      labelNames: ["result"],
      registers,
    }),
    evidence: new Gauge({
      name: "flagback_evidence_log_e",
      help: "Natural log of the evidence against a candidate, by guardrail.",
      labelNames: ["alias", "version", "guardrail"],
      registers,
    }),
    evidenceRatio: new Gauge({
      name: "flagback_evidence_ratio",
      help: "Evidence against a candidate as a part of what a stop needs: it is stopped at 1.",
      labelNames: ["alias", "version"],
      registers,
    }),
    candidateWeight: new Gauge({
      name: "flagback_candidate_weight",
      help: "Weight of each version other than stable, as a fraction.",
      labelNames: ["alias", "version"],
      registers,
    }),
    rolloutState: new Gauge({
      name: "flagback_rollout_state",
      help: "1 for the state that the last rollout of an alias is in.",
      labelNames: ["alias", "state"],
      registers,
    }),
    rolloutHeld: new Gauge({
      name: "flagback_rollout_held",
      help: "1 where the brain holds a rollout, by cause.",
      labelNames: ["alias", "cause"],
      registers,
    }),
    openDecisions: new Gauge({
      name: "flagback_open_decisions",
      help: "Rollbacks that wait for people's approval.",
      labelNames: ["alias"],
      registers,
    }),
    rollbacks: new Counter({
      name: "flagback_rollbacks_total",
      help: "Rollbacks since the start, by who commanded them.",
      labelNames: ["alias", "by"],
      registers,
    }),
    rollbackSeconds: new Histogram({
      name: "flagback_rollback_seconds",
      help: "Time that each phase of a rollback took.",
      labelNames: ["phase"],
      buckets: SECONDS,
      registers,
    }),
    killSwitchEngaged: new Gauge({
      name: "flagback_kill_switch_engaged",
      help: "1 for each scope that a kill switch is engaged for.",
      labelNames: ["key", "scope"],
      registers,
    }),
    lastDrill: new Gauge({
      name: "flagback_last_drill_timestamp_seconds",
      help: "When the last drill of an alias ended, by its result, since 1970; 0 where there was none.",
      labelNames: ["alias", "result"],
      registers,
    }),
    changes: new Counter({
      name: "flagback_changes_total",
      help: "Changes committed since the start.",
      labelNames: ["action", "by"],
      registers,
    }),
  };
}

/** How changes reach runtimes, and how outcomes come back. */
function streamMetrics(registers: Registry[]) {
  return {
    runtimes: new Gauge({
      name: "flagback_runtimes",
      help: "Runtimes that are connected, or whose lease runs on.",
      labelNames: ["state"],
      registers,
    }),
    leases: new Counter({
      name: "flagback_leases_total",
      help: "Leases granted, and runtimes whose last lease ended before they came back.",
      labelNames: ["event"],
      registers,
    }),
    revision: new Gauge({
      name: "flagback_revision",
      help: "Revision of the last change that runtimes see.",
      registers,
    }),
    propagationSeconds: new Histogram({
      name: "flagback_propagation_seconds",
      help: "Time from commit to one runtime's acknowledgement.",
      buckets: SECONDS,
      registers,
    }),
    propagationLag: new Gauge({
      name: "flagback_propagation_lag_seconds",
      help: "Age of the oldest change that a runtime has still to acknowledge; 0 where none has.",
      registers,
    }),
    propagationWaiting: new Gauge({
      name: "flagback_propagation_waiting",
      help: "Runtimes that have still to acknowledge that change.",
      registers,
    }),
    unwrittenOutcomes: new Gauge({
      name: "flagback_unwritten_outcomes",
      help: "Outcomes that are counted and wait to be made durable.",
      registers,
    }),
    ingestWaitSeconds: new Histogram({
      name: "flagback_ingest_wait_seconds",
      help: "How long the oldest batch of each group commit waited to be durable.",
      buckets: SECONDS,
      registers,
    }),
    slowDowns: new Counter({
      name: "flagback_slow_downs_total",
      help: "Group commits whose runtimes were asked to report more slowly, because counts waited too long.",
      registers,
    }),
    dropped: new Counter({
      name: "flagback_dropped_total",
      help: "Sockets, requests and items that a limit cost.",
      labelNames: ["reason"],
      registers,
    }),
  };
}

/** The process, its disk and its doors. */
function serverMetrics(registers: Registry[]) {
  return {
    storeWriteSeconds: new Histogram({
      name: "flagback_store_write_seconds",
      help: "Time that each of the database's transactions took, by what it wrote.",
      labelNames: ["write"],
      buckets: SECONDS,
      registers,
    }),
    databaseWritable: new Gauge({
      name: "flagback_database_writable",
      help: "1 where the database can be written, else 0: changes are refused and counts wait.",
      registers,
    }),
    databaseBytes: new Gauge({
      name: "flagback_database_bytes",
      help: "Size of the database's files, with the journal.",
      registers,
    }),
    diskFreeBytes: new Gauge({
      name: "flagback_disk_free_bytes",
      help: "Room left on the disk that the database is on.",
      registers,
    }),
    pruned: new Counter({
      name: "flagback_pruned_total",
      help: "Rows dropped because they were past their term, by what they were.",
      labelNames: ["what"],
      registers,
    }),
    outboxDepth: new Gauge({ name: "flagback_outbox_depth", help: "Alerts that wait for delivery.", registers }),
    deadLetters: new Gauge({
      name: "flagback_dead_letters",
      help: "Alerts that were given up and are kept.",
      registers,
    }),
    alerts: new Counter({
      name: "flagback_alerts_total",
      help: "Attempts to deliver an alert, by how they ended.",
      labelNames: ["result"],
      registers,
    }),
    signals: new Counter({
      name: "flagback_signals_total",
      help: "Signals from outside, by what became of them.",
      labelNames: ["trigger", "result"],
      registers,
    }),
    requestSeconds: new Histogram({
      name: "flagback_http_request_seconds",
      help: "Time from a request's headers to its whole answer.",
      labelNames: ["method", "route", "status"],
      buckets: REQUEST_SECONDS,
      registers,
    }),
    authFailures: new Counter({
      name: "flagback_auth_failures_total",
      help: "Requests without a valid token: refused, or slowed because their sender failed too often.",
      labelNames: ["result"],
      registers,
    }),
  };
}
