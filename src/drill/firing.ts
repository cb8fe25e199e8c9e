/**
 * Whether a policy can fire at all: how many spoilt runs in a row it takes to roll back, by the brain itself.
 */
import type { DrillFault, Outcome, Policy } from "@flagback/schemas";
import {
  beginTick,
  freezeThrough,
  judge,
  type Ledger,
  newLedger,
  recordAssigned,
  recordMissing,
  recordOutcome,
} from "../brain/index.ts";
import { type DrillReport, faultyRun, guardrailsOf, guardrailsThatSee, healthyRun } from "./play.ts";

/** Runtimes that share the runs, so that none of them decides alone. */
const RUNTIMES = ["a", "b", "c"];
/** Runs of the candidate in one tick, each beside so many of stable's. */
const TICK_RUNS = 3;
const STABLE_RUNS = 4;

/** Candidate runs until the brain does something about them; null where `most` are not enough. */
function runsToStop(policy: Policy, fault: DrillFault, most: number): number | null {
  const guardrails = guardrailsOf(policy);
  if (guardrails.length === 0) return null;
  const ledger = newLedger(guardrails, policy.alpha, policy.stages.length);
  const healthy = healthyRun(policy);
  const faulty = faultyRun(policy, fault);
  for (let runs = 0, tick = 1; runs < most; tick += 1) {
    beginTick(ledger, tick);
    for (const runtime of RUNTIMES.slice(0, TICK_RUNS)) {
      runs += 1;
      count(ledger, "candidate", runtime, tick, faulty);
      for (let n = 0; n < STABLE_RUNS; n += 1) count(ledger, "stable", runtime, tick, healthy);
    }
    beginTick(ledger, tick + 1);
    if (judge(ledger).kind === "stop") return runs;
    freezeThrough(ledger, tick);
  }
  return null;
}

/** In a clause for people. */
export function firingFinding(
  policy: Policy,
  fault: DrillFault,
  most: number,
): { readonly isMet: boolean; readonly why: string } {
  const seers = guardrailsThatSee(policy, fault);
  if (seers.length === 0) {
    return { isMet: false, why: `no guardrail of the policy that can decide looks at ${WHAT[fault]}` };
  }
  const names = seers.map(({ name }) => name).join(", ");
  const runs = runsToStop(policy, fault, most);
  return runs === null
    ? { isMet: false, why: `${most} runs with ${WHAT[fault]} in a row are not enough for ${names} to stop a candidate` }
    : { isMet: true, why: `${names} stops a candidate after ${runs} runs in a row with ${WHAT[fault]}` };
}

const WHAT: Readonly<Record<DrillFault, string>> = {
  errors: "errors",
  latency: "slow answers",
  tool_failures: "failed tool calls",
  silence: "no report",
  crash: "errors",
};

function count(
  ledger: Ledger,
  arm: "candidate" | "stable",
  runtime: string,
  tick: number,
  report: DrillReport | null,
): void {
  recordAssigned(ledger, arm, runtime, tick, 1);
  if (report === null) recordMissing(ledger, arm, runtime, tick, 1);
  else
    recordOutcome(ledger, arm, runtime, tick, { ...report, runId: "drill", alias: "drill", version: arm } as Outcome);
}
