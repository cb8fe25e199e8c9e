/**
 * The metrics of one server, each beginning with `flagback_` (DESIGN 11).
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

export type Metrics = ReturnType<typeof createMetrics>;

export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: "flagback_process_" });
  return {
    registry,
    rollbackSeconds: new Histogram({
      name: "flagback_rollback_seconds",
      help: "Time that each phase of a rollback by the brain took.",
      labelNames: ["phase"],
      buckets: SECONDS,
      registers,
    }),
    runtimes: new Gauge({ name: "flagback_runtimes", help: "Connected runtimes.", labelNames: ["state"], registers }),
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
    outcomes: new Counter({
      name: "flagback_outcomes_total",
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
    evidence: new Gauge({
      name: "flagback_evidence_log_e",
      help: "Natural log of the evidence against a candidate, by guardrail.",
      labelNames: ["alias", "version", "guardrail"],
      registers,
    }),
    killSwitchEngaged: new Gauge({
      name: "flagback_kill_switch_engaged",
      help: "1 for each scope that a kill switch is engaged for.",
      labelNames: ["key", "scope"],
      registers,
    }),
    candidateWeight: new Gauge({
      name: "flagback_candidate_weight",
      help: "Weight of each version other than stable, as a fraction.",
      labelNames: ["alias", "version"],
      registers,
    }),
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
    pruned: new Counter({
      name: "flagback_pruned_total",
      help: "Rows dropped because they were past their term, by what they were.",
      labelNames: ["what"],
      registers,
    }),
    outboxDepth: new Gauge({ name: "flagback_outbox_depth", help: "Alerts that wait for delivery.", registers }),
    authFailures: new Counter({
      name: "flagback_auth_failures_total",
      help: "Requests without a valid token: refused, or slowed because their sender failed too often.",
      labelNames: ["result"],
      registers,
    }),
    slowDowns: new Counter({
      name: "flagback_slow_downs_total",
      help: "Group commits whose runtimes were asked to report more slowly, because counts waited too long.",
      registers,
    }),
    dropped: new Counter({
      name: "flagback_dropped_total",
      help: "Sockets and items that a limit cost.",
      labelNames: ["reason"],
      registers,
    }),
  };
}
