/**
 * What the demo proved: the values read from the server and the runtimes, the last line, and whether it all holds.
 */
import { type Alias, type AuditEvent, type KillSwitch, TOTAL_WEIGHT } from "@flagback/schemas";
import type { IncidentReport, PropagationStatus, RolloutStatus } from "../cli/api-answers.ts";
import { ALIAS, CANDIDATE, SWITCH } from "./scenario.ts";

/** The last line of `flagback demo --json --exit`. Times are milliseconds. */
export interface RollbackResult {
  readonly rolledBack: true;
  readonly reason: string;
  readonly candidateWeight: number;
  readonly locked: boolean;
  readonly writesDisabled: boolean;
  /** Connected at the commit. */
  readonly runtimes: number;
  readonly acknowledged: number;
  /** Resolutions of the candidate that runtimes made after their own acknowledgement. */
  readonly servedAfterAck: number;
  /** From the arrival of the outcome that was one too many to the verdict. */
  readonly decideMs: number | null;
  /** From the verdict to the commit. */
  readonly commitMs: number | null;
  /** From the commit to the last acknowledgement. */
  readonly convergeMs: number | null;
  /** Outcomes of the candidate that the verdict is based on. */
  readonly outcomesToDecision: number | null;
}

/** The last line with `--healthy`. */
export interface HealthyResult {
  readonly rolledBack: boolean;
  readonly candidateRuns: number;
  readonly candidateFailures: number;
  readonly candidateWeight: number;
  /** The most that the evidence came to, and what a stop needs. */
  readonly peakLogE: number | null;
  readonly threshold: number | null;
}

export interface RollbackFacts {
  readonly event: AuditEvent;
  readonly alias: Alias;
  readonly killSwitches: readonly KillSwitch[];
  readonly propagation: PropagationStatus;
  readonly incident: IncidentReport;
  /** For each living runtime, what it resolved after its acknowledgement. */
  readonly sinceAck: readonly { readonly all: number; readonly candidate: number }[];
}

export function rollbackResult(facts: RollbackFacts): RollbackResult {
  const { event, alias, killSwitches, propagation, incident, sinceAck } = facts;
  const times = propagation.acknowledgements.map((each) => each.ms);
  return {
    rolledBack: true,
    reason: event.reason ?? "",
    candidateWeight: candidateWeight(alias),
    locked: alias.locks.some((lock) => lock.version === CANDIDATE),
    writesDisabled: isEngaged(killSwitches),
    runtimes: propagation.runtimes,
    acknowledged: propagation.acknowledged,
    servedAfterAck: sinceAck.reduce((sum, each) => sum + each.candidate, 0),
    decideMs: rounded(incident.timings.decideMs),
    commitMs: rounded(incident.timings.commitMs),
    convergeMs: rounded(times.length === 0 ? null : Math.max(...times)),
    outcomesToDecision: incident.outcomesToDecision,
  };
}

/** What doesn't hold, each in a sentence; empty when the rollback is proven. */
export function unproven(result: RollbackResult, runtimes: number): string[] {
  const problems: string[] = [];
  if (result.candidateWeight !== 0) problems.push(`the candidate still has weight ${result.candidateWeight}`);
  if (!result.locked) problems.push("the candidate is not locked");
  if (!result.writesDisabled) problems.push(`${SWITCH} is not engaged`);
  if (result.runtimes !== runtimes) problems.push(`${result.runtimes} runtimes were connected, not ${runtimes}`);
  if (result.acknowledged !== result.runtimes) {
    problems.push(`${result.acknowledged} of ${result.runtimes} runtimes acknowledged`);
  }
  if (result.servedAfterAck !== 0) problems.push(`the candidate was served ${result.servedAfterAck} times afterwards`);
  return problems;
}

export function healthyResult(status: RolloutStatus, alias: Alias): HealthyResult {
  const row = status.traffic.find((each) => each.version === CANDIDATE);
  return {
    rolledBack: alias.locks.some((lock) => lock.version === CANDIDATE),
    candidateRuns: row?.settled ?? 0,
    candidateFailures: row?.failures ?? 0,
    candidateWeight: candidateWeight(alias),
    peakLogE: rounded(status.peakLogE),
    threshold: rounded(status.threshold),
  };
}

/** To hundredths. */
function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value * 100) / 100;
}

function candidateWeight(alias: Alias): number {
  const weight = alias.allocation.reduce((sum, slot) => sum + (slot.version === CANDIDATE ? slot.weight : 0), 0);
  return weight / TOTAL_WEIGHT;
}

/** True when the agents' writes are stopped: an entry for everything, or for this agent. */
function isEngaged(killSwitches: readonly KillSwitch[]): boolean {
  const entries = killSwitches.find((each) => each.key === SWITCH)?.engaged ?? [];
  return entries.some(({ scope }) => scope === "*" || scope === `agent=${ALIAS}`);
}
