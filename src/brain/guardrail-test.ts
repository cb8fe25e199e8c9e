/**
 * One guardrail's tests, tick by tick: the candidate's detector, stable's own, and the comparison of the two.
 */
import { type CompiledGuardrail, isFractional, isStatistical } from "./compiled.ts";
import { type Counts, type GuardrailCounts, pendingFor } from "./counts.ts";
import {
  addRestarts,
  addStageLump,
  type Grid,
  gridOf,
  LOG_STAGE_LUMP,
  likelihoodOfCounts,
  likelihoodOfFractions,
  logEvidence,
  MILLIONTHS,
  multiply,
} from "./detector.ts";
import type { Detectors, GuardrailState, Totals } from "./prefix.ts";
import { addRelativeLump, addRelativeRestarts, relativeLogE, stepRelative, type TwoArms } from "./relative.ts";
import { offerRestarts, stepStart } from "./start-estimate.ts";

/** The odds ratio by which a breach of a fixed threshold is attributed (BRAIN 2.8, rho). */
const ATTRIBUTION_ODDS_RATIO = 1.5;

/** What replaying needs to know about a guardrail; made once for a replay. */
export interface Plan {
  readonly guardrail: CompiledGuardrail;
  readonly isTested: boolean;
  readonly isFractional: boolean;
  /** The grid of the candidate's detector; of a guardrail that compares, the floor's. */
  readonly grid: Grid;
  readonly maxOddsRatio: number;
  /** ln of its share; -Infinity where it decides nothing. */
  readonly logShare: number;
  /** Room for a tick's likelihoods. */
  readonly logL: number[];
  readonly relativeLogL: number[];
  readonly arms: TwoArms;
}

export function planOf(guardrail: CompiledGuardrail): Plan {
  const { relative, p0, share } = guardrail;
  const isTested = isStatistical(guardrail);
  return {
    guardrail,
    isTested,
    isFractional: isFractional(guardrail),
    grid: gridOf(isTested ? (relative?.floor ?? p0) : 0.5),
    maxOddsRatio: relative?.maxOddsRatio ?? ATTRIBUTION_ODDS_RATIO,
    logShare: Math.log(share),
    logL: [],
    relativeLogL: [],
    arms: { candidateRuns: 0, candidateBad: 0, stableRuns: 0, stableBad: 0 },
  };
}

/** What a tick is to a guardrail. */
export interface TickOfArms {
  readonly tick: number;
  /** An open tick is not compared yet. */
  readonly isClosed: boolean;
  readonly candidate: Counts;
  readonly stable: Counts;
}

/**
 * Multiplies a tick's candidate and both arms' labels into the detectors that decide. Pending runs count as good on the
 * candidate and as bad on stable; missing ones as bad for the error rate. True where the labels said anything.
 */
export function stepDetectors(plan: Plan, g: number, detectors: Detectors, tick: TickOfArms): boolean {
  const { candidate, stable } = tick;
  // Every array has one entry for each guardrail.
  const counts = candidate.guardrails[g] as GuardrailCounts;
  likelihoodOf(plan, counts, candidate, plan.logL);
  multiply(detectors.candidate, plan.logL);
  if (detectors.relative === null || !tick.isClosed) return false;
  const { arms } = plan;
  const stableCounts = stable.guardrails[g] as GuardrailCounts;
  const stablePending = pendingFor(stable, stableCounts);
  const candidateMissing = missingOf(plan, candidate);
  const stableMissing = missingOf(plan, stable);
  arms.candidateRuns = counts.judged + pendingFor(candidate, counts) + candidateMissing;
  arms.candidateBad = hitsOf(counts) + candidateMissing;
  arms.stableRuns = stableCounts.judged + stablePending + stableMissing;
  arms.stableBad = hitsOf(stableCounts) + stablePending + stableMissing;
  return stepRelative(detectors.relative, plan.maxOddsRatio, arms, plan.relativeLogL);
}

/** The guardrail's evidence: of one that compares, the lesser of the comparison's and the floor's. */
export function logEOf(plan: Plan, { candidate, relative }: Detectors): number {
  const logE = logEvidence(candidate);
  if (plan.guardrail.relative === undefined || relative === null) return logE;
  return Math.min(logE, relativeLogE(relative));
}

/** A whole tick of the guardrail: evidence, attribution, totals and the estimated start. */
export function stepGuardrail(plan: Plan, g: number, state: GuardrailState, arms: TickOfArms): void {
  const { tick, candidate, stable } = arms;
  const isLabelled = stepDetectors(plan, g, state, arms);
  state.logE = logEOf(plan, state);
  // Without a bad candidate run the comparison can't have risen.
  if (isLabelled && state.relative !== null && plan.arms.candidateBad > 0) {
    const logE = relativeLogE(state.relative);
    if (logE > state.relativePeak) state.relativePeak = logE;
  }
  if (state.start !== null) {
    if (plan.guardrail.relative === undefined) stepStart(state.start, tick, plan.logL);
    else if (isLabelled) stepStart(state.start, tick, plan.relativeLogL);
  }
  addTotals(plan, g, state.totals.candidate, candidate);
  addTotals(plan, g, state.totals.stable, stable);
  if (state.stable.length === 0) return;
  likelihoodOf(plan, stable.guardrails[g] as GuardrailCounts, stable, plan.logL);
  multiply(state.stable, plan.logL);
}

/** Places the restarts that a tick's assignments pay for: weight `exp(logWeight)` of the candidate's detectors. */
export function endDetectors(detectors: Detectors, logWeight: number): void {
  addRestarts(detectors.candidate, logWeight);
  if (detectors.relative !== null) addRelativeRestarts(detectors.relative, Math.exp(logWeight));
}

export function endGuardrail(state: GuardrailState, logWeight: number, stableLogWeight: number): void {
  if (state.start === null) return;
  endDetectors(state, logWeight);
  const { n, bad } = state.totals.candidate;
  offerRestarts(state.start, logWeight, n, bad);
  if (state.stable.length > 0) addRestarts(state.stable, stableLogWeight);
}

export function addLumps(detectors: Detectors): void {
  addStageLump(detectors.candidate);
  if (detectors.relative !== null) addRelativeLump(detectors.relative);
}

export function addGuardrailLumps(state: GuardrailState): void {
  if (state.start === null) return;
  addLumps(state);
  const { n, bad } = state.totals.candidate;
  offerRestarts(state.start, LOG_STAGE_LUMP, n, bad);
  if (state.stable.length > 0) addStageLump(state.stable);
}

/** Bad counts in millionths, missing runs included where they are bad. */
export function badOf(plan: Plan, g: number, counts: Counts): number {
  return (counts.guardrails[g] as GuardrailCounts).bad + missingOf(plan, counts) * MILLIONTHS;
}

/** Runs that say something about the guardrail, without pending ones. */
export function judgedOf(plan: Plan, g: number, counts: Counts): number {
  return (counts.guardrails[g] as GuardrailCounts).judged + missingOf(plan, counts);
}

function likelihoodOf(plan: Plan, counts: GuardrailCounts, arm: Counts, logL: number[]): void {
  const pending = pendingFor(arm, counts);
  if (counts.bins !== undefined) {
    likelihoodOfFractions(plan.grid, counts.bins, pending, logL);
    return;
  }
  const missing = missingOf(plan, arm);
  const bad = counts.bad / MILLIONTHS + missing;
  likelihoodOfCounts(plan.grid, counts.judged + pending + missing - bad, bad, logL);
}

function addTotals(plan: Plan, g: number, totals: Totals, counts: Counts): void {
  // Every array has one entry for each guardrail.
  totals.n += judgedOf(plan, g, counts) + pendingFor(counts, counts.guardrails[g] as GuardrailCounts);
  totals.bad += badOf(plan, g, counts);
}

/** Runs without a report say something about the error rate alone. */
function missingOf({ guardrail }: Plan, counts: Counts): number {
  return guardrail.kind === "error_rate" ? counts.missing : 0;
}

function hitsOf({ bad, hits }: GuardrailCounts): number {
  return hits ?? bad / MILLIONTHS;
}
