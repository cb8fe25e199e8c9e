/**
 * BRAIN 3.7 on the product's ledger: informative delays, and that neither order, nor replicas, nor storage change a verdict.
 */
import {
  addCounts,
  type CompiledGuardrail,
  type CountsRow,
  freezeThrough,
  judge,
  type Ledger,
  logThreshold,
  newDetector,
  newLedger,
  pendingOf,
  recordAssigned,
  recordOutcome,
  rowsOf,
  stepDetector,
} from "@flagback/core";
import type { Outcome } from "@flagback/schemas";
import { nextExponential, nextIsBad, type Rng, xoshiro128 } from "../rng.ts";
import type { Experiment } from "./experiment.ts";
import { P0 } from "./peers.ts";
import { nextPoisson, shuffle } from "./random.ts";

const THRESHOLD = logThreshold(0.01, 1);
const RUNTIME = "runtime-1";
const NEVER = Number.POSITIVE_INFINITY;

const AUTOMATIC = { mode: "automatic", action: "rollback" } as const;
const ERROR_RATE: CompiledGuardrail = { name: "error_rate", kind: "error_rate", p0: P0, share: 0.4, ...AUTOMATIC };
const LATENCY: CompiledGuardrail = {
  name: "latency_p95_ms",
  kind: "latency",
  p0: P0,
  limitMs: 1_800,
  share: 0.3,
  ...AUTOMATIC,
};
const TOOL_FAILURE: CompiledGuardrail = {
  name: "tool_failure_rate",
  kind: "tool_failure",
  p0: 0.03,
  share: 0.3,
  ...AUTOMATIC,
};
const ALONE: CompiledGuardrail[] = [{ ...ERROR_RATE, share: 1 }];
const THREE: CompiledGuardrail[] = [ERROR_RATE, LATENCY, TOOL_FAILURE];

const SUCCESS: Outcome = { runId: "run-1", alias: "agent", version: "agent@2", status: "success" };
const FAILURE: Outcome = { ...SUCCESS, status: "failure" };

/** (a) Twenty runs start each second; failures report after Exp(1 s), successes after Exp(30 s). Times in seconds. */
export const DELAY_RATES = [0.02, 0.04, 0.045, 0.15, 0.3] as const;
export const DELAY_COLUMNS_A = [
  "naive rate, order of arrival",
  "detector, order of arrival",
  "flagback's ledger",
] as const;
const STARTS = 4_000;
const STARTS_PER_SECOND = 20;
const DRAIN_SECONDS = 60;

export function informativeDelayExperiment(rate: number): Experiment {
  return {
    id: `hazard a ${rate}`,
    seedBase: 4_000_000,
    full: 2_000,
    quick: 40,
    columns: DELAY_COLUMNS_A,
    replicate: (seed) => {
      const next = xoshiro128(seed);
      const runs = Array.from({ length: STARTS }, (_, i): Run => {
        const isBad = nextIsBad(next, rate);
        const startSeconds = i / STARTS_PER_SECOND;
        return { startSeconds, isBad, arrivalSeconds: startSeconds + nextExponential(next, isBad ? 1 : 30) };
      }).sort((a, b) => a.arrivalSeconds - b.arrivalSeconds);
      return [naiveByArrival(runs), detectorByArrival(runs), byLedger(runs)];
    },
  };
}

interface Run {
  readonly startSeconds: number;
  readonly isBad: boolean;
  readonly arrivalSeconds: number;
}

function naiveByArrival(runs: readonly Run[]): number {
  let bad = 0;
  for (let i = 0; i < runs.length; i++) {
    const run = runs[i] as Run;
    if (run.isBad) bad += 1;
    if (i + 1 >= 100 && bad / (i + 1) > P0) return run.arrivalSeconds;
  }
  return NEVER;
}

function detectorByArrival(runs: readonly Run[]): number {
  const detector = newDetector(P0);
  for (const run of runs) if (stepDetector(detector, 1, run.isBad ? 1 : 0) >= THRESHOLD) return run.arrivalSeconds;
  return NEVER;
}

/** Judged once a second, at the second's end; the ticks that are complete are frozen, as the server does it. */
function byLedger(runs: readonly Run[]): number {
  const ledger = newLedger(ALONE, 0.01, 1);
  const lastSecond = STARTS / STARTS_PER_SECOND + DRAIN_SECONDS;
  let arrived = 0;
  for (let second = 1; second <= lastSecond; second++) {
    if (second <= STARTS / STARTS_PER_SECOND) {
      recordAssigned(ledger, "candidate", RUNTIME, second - 1, STARTS_PER_SECOND);
    }
    for (; arrived < runs.length && (runs[arrived] as Run).arrivalSeconds <= second; arrived++) {
      const { startSeconds, isBad } = runs[arrived] as Run;
      recordOutcome(ledger, "candidate", RUNTIME, Math.floor(startSeconds), isBad ? FAILURE : SUCCESS);
    }
    if (judge(ledger).kind === "stop") return second;
    freezeComplete(ledger);
  }
  return NEVER;
}

function freezeComplete(ledger: Ledger): void {
  let through = -1;
  for (const { tick, arms } of ledger.ticks) {
    if (pendingOf(arms.candidate.total) > 0) break;
    through = tick;
  }
  if (through >= 0) freezeThrough(ledger, through);
}

/**
 * (d), (e) and (g) on one ledger of three guardrails and four runtimes. Each column is 0 where it holds: outcomes of a tick in another order,
 * counts split over replicas, outcomes of all ticks in a random order of arrival, and the largest difference of logE after
 * the ledger was stored and read back.
 */
export const LEDGER_COLUMNS = ["order within a tick", "split over replicas", "order of arrival", "replay"] as const;
const LEDGER_TICKS = 60;
const LEDGER_RUNS_PER_TICK = 20;
const LEDGER_RUNTIMES = 4;

export function ledgerExperiment(): Experiment {
  return {
    id: "hazard e",
    seedBase: 7_000_000,
    full: 500,
    quick: 40,
    columns: LEDGER_COLUMNS,
    replicate: (seed) => {
      const next = xoshiro128(seed);
      // Half of the seeds break halfway, so that both verdicts occur.
      const breaks = seed % 2 === 0 ? LEDGER_TICKS / 2 : LEDGER_TICKS;
      const reports = Array.from({ length: LEDGER_TICKS * LEDGER_RUNS_PER_TICK }, (_, i): Report => {
        const tick = Math.floor(i / LEDGER_RUNS_PER_TICK);
        const runtime = `runtime-${i % LEDGER_RUNTIMES}`;
        return { tick, runtime, outcome: nextOutcome(next, tick < breaks ? 0.01 : 0.3) };
      });
      const inOrder = verdictOf(ledgerOf(reports));
      const withinTicks = shuffle(next, reports).sort((a, b) => a.tick - b.tick);
      const replayed = JSON.parse(JSON.stringify(ledgerOf(reports))) as Ledger;
      return [
        differs(inOrder, verdictOf(ledgerOf(withinTicks))),
        differs(inOrder, verdictOf(splitOverReplicas(next, reports))),
        differs(inOrder, verdictOf(ledgerOf(shuffle(next, reports)))),
        Math.abs(judge(replayed).logE - judge(ledgerOf(reports)).logE),
      ];
    },
  };
}

interface Report {
  readonly tick: number;
  readonly runtime: string;
  readonly outcome: Outcome;
}

function nextOutcome(next: Rng, rate: number): Outcome {
  const toolCalls = 1 + nextPoisson(next, 3);
  return {
    ...(nextIsBad(next, rate) ? FAILURE : SUCCESS),
    durationMs: nextIsBad(next, rate) ? 2_500 : 900,
    toolCalls,
    toolErrors: nextIsBad(next, rate) ? 1 : 0,
  };
}

/** Every run is assigned first; then the reports arrive in the order given, each within the timeout. */
function ledgerOf(reports: readonly Report[]): Ledger {
  const ledger = newLedger(THREE, 0.01, 1);
  for (const { tick, runtime } of reports) recordAssigned(ledger, "candidate", runtime, tick, 1);
  for (const { tick, runtime, outcome } of reports) recordOutcome(ledger, "candidate", runtime, tick, outcome);
  return ledger;
}

function splitOverReplicas(next: Rng, reports: readonly Report[]): Ledger {
  const replicas = Array.from({ length: 3 }, () => newLedger(THREE, 0.01, 1));
  for (const { tick, runtime, outcome } of reports) {
    const replica = replicas[next() % replicas.length] as Ledger;
    recordAssigned(replica, "candidate", runtime, tick, 1);
    recordOutcome(replica, "candidate", runtime, tick, outcome);
  }
  const merged = newLedger(THREE, 0.01, 1);
  const rows: CountsRow[] = replicas.flatMap((replica) => replica.ticks.flatMap(({ tick }) => rowsOf(replica, tick)));
  for (const row of shuffle(next, rows)) addCounts(merged, row);
  return merged;
}

function verdictOf(ledger: Ledger): string {
  return JSON.stringify(judge(ledger));
}

function differs(one: string, other: string): number {
  return one === other ? 0 : 1;
}
