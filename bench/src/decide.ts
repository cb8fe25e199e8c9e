/**
 * What a decision costs: the detector's step and the judge, per guardrail and tick, against a floor of six multiply-adds
 * and one exponential; and recording, per outcome. Limits are BRAIN.md's benchmark P.
 */
import {
  type CompiledGuardrail,
  freezeThrough,
  judge,
  type Ledger,
  newDetector,
  newLedger,
  recordAssigned,
  recordOutcome,
  stepDetector,
} from "@flagback/core";
import type { Outcome } from "@flagback/schemas";
import type { Benchmark, Report, Row } from "./report.ts";
import { nextIsBad, type Rng, xoshiro128 } from "./rng.ts";

const SAMPLES = 15;
const SAMPLE_MS = 40;
const OPEN_TICKS = 60;
const OUTCOMES_PER_TICK = 20;
const DECIDE_LIMIT_NS = 1_000;
/** A million outcomes a second. */
const RECORD_LIMIT_NS = 1_000;

const GUARDRAILS: CompiledGuardrail[] = [
  { name: "error_rate", kind: "error_rate", p0: 0.05, mode: "automatic", action: "rollback", share: 0.25 / 0.55 },
  {
    name: "latency_p95_ms",
    kind: "latency",
    p0: 0.05,
    limitMs: 1_800,
    mode: "automatic",
    action: "rollback",
    share: 0.15 / 0.55,
  },
  {
    name: "tool_failure_rate",
    kind: "tool_failure",
    p0: 0.03,
    mode: "automatic",
    action: "rollback",
    share: 0.15 / 0.55,
  },
];

const RELATIVE: CompiledGuardrail = {
  name: "error_rate vs stable",
  kind: "error_rate",
  p0: 0.05,
  relative: { maxOddsRatio: 1.5, floor: 0.01 },
  mode: "automatic",
  action: "rollback",
  share: 1,
};
const RUNTIMES = 50;
/** A fixed threshold is judged by three detectors: the candidate's, stable's own, and the comparison for attribution. */
const FIXED_DETECTORS = 3;
/** A comparison by two: the floor's and the odds ratio's. */
const RELATIVE_DETECTORS = 2;

export const decide: Benchmark = { summary: "cost of the detector's step, of judging and of recording", run };

function run(): Report {
  const ledger = healthyLedger(GUARDRAILS);
  const binary = healthyLedger(GUARDRAILS.slice(0, 2));
  const relative = healthyLedger([RELATIVE]);
  const fleet = heldBackLedger();
  const floor = nanosecondsPer(1, floorStep);
  const rows: Row[] = [
    { what: "floor: six multiply-adds and one exp", value: floor, unit: "ns" },
    timed("detector step, per tick", nanosecondsPer(1, detectorStep()), floor, DECIDE_LIMIT_NS),
    ...judged("0/1 guardrails", binary, 2, FIXED_DETECTORS, floor),
    ...judged("with tool fractions", ledger, GUARDRAILS.length, FIXED_DETECTORS, floor),
    ...judged("compared with stable", relative, 1, RELATIVE_DETECTORS, floor),
    // Asked in the worst moment only: the evidence is there, and one runtime carries it.
    timed(
      `judge, held back by one of ${RUNTIMES} runtimes, per guardrail-tick`,
      nanosecondsPer(OPEN_TICKS, () => judge(fleet).logE),
      floor,
    ),
    timed("record one outcome on three guardrails", nanosecondsPer(1, recordStep()), floor, RECORD_LIMIT_NS),
  ];
  const failures = rows
    .filter(({ value, limit }) => limit !== undefined && value > limit)
    .map(({ what, value, limit, unit }) => `${what} takes ${value.toFixed(0)} ${unit}, more than ${limit} ${unit}`);
  return { rows, failures };
}

/** A judgement by guardrail and tick; and by detector and tick, which is what BRAIN.md limits. */
function judged(what: string, ledger: Ledger, guardrails: number, detectors: number, floor: number): Row[] {
  const value = nanosecondsPer(OPEN_TICKS * guardrails, () => judge(ledger).logE);
  const name = `judge, ${OPEN_TICKS} open ticks, ${what}`;
  return [
    timed(`${name}, per guardrail-tick`, value, floor),
    timed(`${name}, per detector-tick (${detectors} a guardrail)`, value / detectors, floor, DECIDE_LIMIT_NS),
  ];
}

function timed(what: string, value: number, floor: number, limit?: number): Row {
  return { what, value, unit: "ns", ratioToFloor: value / floor, ...(limit === undefined ? {} : { limit }) };
}

/** Median over samples of nanoseconds per unit of work, where one call of `work` does `units` of them. */
function nanosecondsPer(units: number, work: () => number): number {
  let calls = 64;
  let sink = 0;
  const sample = () => {
    const start = process.hrtime.bigint();
    for (let i = 0; i < calls; i++) sink += work();
    return Number(process.hrtime.bigint() - start);
  };
  // Warms up, too: grows until a sample is long enough for the clock.
  while (sample() < SAMPLE_MS * 1e6) calls *= 2;
  const samples = Array.from({ length: SAMPLES }, () => sample() / calls / units).sort((a, b) => a - b);
  // The sum keeps the work from being optimised away.
  if (Number.isNaN(sink)) throw new Error("a benchmark's work gave NaN");
  return samples[SAMPLES >> 1] ?? Number.NaN;
}

const floorState = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
let floorCount = 0;

function floorStep(): number {
  floorCount = (floorCount + 1) & 31;
  let sum = 0;
  for (let j = 0; j < 6; j++) sum += (floorState[j] ?? 0) * floorCount + 0.5;
  return Math.exp(-sum);
}

function detectorStep(): () => number {
  const rng = xoshiro128(1);
  const bad = Array.from({ length: 1_024 }, () => badOf(rng, OUTCOMES_PER_TICK));
  const detector = newDetector(0.05);
  let tick = 0;
  return () => {
    tick = (tick + 1) & 1_023;
    return stepDetector(detector, OUTCOMES_PER_TICK, bad[tick] ?? 0);
  };
}

function recordStep(): () => number {
  const outcomes = Array.from({ length: 256 }, outcomeOf(xoshiro128(2)));
  const ledger = newLedger(GUARDRAILS, 0.01, 1);
  let recorded = 0;
  return () => {
    const tick = Math.floor(recorded / 1_000);
    if (recorded % 1_000 === 0) {
      recordAssigned(ledger, "candidate", "r1", tick, 1_000);
      if (tick > OPEN_TICKS) freezeThrough(ledger, tick - OPEN_TICKS);
    }
    recordOutcome(ledger, "candidate", "r1", tick, outcomes[recorded & 255] as Outcome);
    recorded += 1;
    return tick;
  };
}

function healthyLedger(guardrails: CompiledGuardrail[]): Ledger {
  const nextOutcome = outcomeOf(xoshiro128(3));
  const ledger = newLedger(guardrails, 0.01, 1);
  for (let tick = 0; tick < OPEN_TICKS; tick++) {
    for (const arm of ["candidate", "stable"] as const) {
      recordAssigned(ledger, arm, "r1", tick, OUTCOMES_PER_TICK);
      for (let i = 0; i < OUTCOMES_PER_TICK; i++) recordOutcome(ledger, arm, "r1", tick, nextOutcome());
    }
  }
  // A stop would end the replay early and flatter the judge.
  if (judge(ledger).kind === "stop") throw new Error("the benchmark's healthy ledger stopped");
  return ledger;
}

/** One run of each runtime in each tick; one runtime sends only failures, so that every judgement asks the others. */
function heldBackLedger(): Ledger {
  const ledger = newLedger([{ ...(GUARDRAILS[0] as CompiledGuardrail), share: 1 }], 0.01, 1);
  const nextOutcome = outcomeOf(xoshiro128(4));
  for (let tick = 0; tick < OPEN_TICKS; tick++) {
    for (let r = 0; r < RUNTIMES; r++) {
      const n = r === 0 ? 10 : 1;
      recordAssigned(ledger, "candidate", `r${r}`, tick, n);
      for (let i = 0; i < n; i++) {
        const outcome = nextOutcome();
        recordOutcome(ledger, "candidate", `r${r}`, tick, r === 0 ? { ...outcome, status: "failure" } : outcome);
      }
    }
  }
  const verdict = judge(ledger);
  if (verdict.kind !== "allow" || verdict.heldBackBy !== "r0")
    throw new Error("the benchmark's liar holds nothing back");
  return ledger;
}

/** Healthy runs: 1 % fail, 1 % are slow, 1 % lose one of three tool calls. */
function outcomeOf(rng: Rng): () => Outcome {
  return () => ({
    runId: "run-1",
    alias: "support-agent",
    version: "support-agent@2.4.0",
    status: nextIsBad(rng, 0.01) ? "failure" : "success",
    durationMs: nextIsBad(rng, 0.01) ? 2_000 : 900,
    toolCalls: 3,
    toolErrors: nextIsBad(rng, 0.01) ? 1 : 0,
  });
}

function badOf(rng: Rng, n: number): number {
  let bad = 0;
  for (let i = 0; i < n; i++) if (nextIsBad(rng, 0.01)) bad += 1;
  return bad;
}
