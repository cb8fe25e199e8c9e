/**
 * Tests of the exposure itself, not of the candidate's quality: they hold a rollout and alert, and never stop one. Each has
 * an alpha of its own, so a healthy rollout is held for either with probability at most 0.001.
 *
 * Exclusions: failure must not hide in a class that says nothing about the version, so each class's share of runs is
 * compared with stable's by the relative detector. The mean of the five e-values must reach 1/0.001; besides, the
 * candidate's share must exceed a floor, which can only remove holds.
 *
 * Sample ratio: given all that came before, a run goes to the candidate with the probability that its weight says, whatever
 * the tick. Two detectors bet that its odds are more, or less, than {@link MAX_ODDS_RATIO} times that; the margin is for
 * runs that share a targeting key and so a version. Ticks soon after a change of weight are left out, because runtimes
 * apply it one after another, and so are weights of 0 and 100 %.
 */
import { EXCLUSIONS } from "./badness.ts";
import { type Counts, pendingOf } from "./counts.ts";
import {
  addRestarts,
  type Grid,
  gridOf,
  likelihoodOfCounts,
  logEvidence,
  logSpent,
  logSumExp,
  multiply,
} from "./detector.ts";
import type { TickOfArms } from "./guardrail-test.ts";
import type { ExposureState, LedgerPrefix } from "./prefix.ts";
import { addRelativeLump, addRelativeRestarts, relativeLogE, stepRelative, type TwoArms } from "./relative.ts";
import type { ExclusionEvidence, ExposureEvidence } from "./verdict.ts";

const ALPHA = 0.001;
const NEEDED_LOG_E = -Math.log(ALPHA);
const MAX_ODDS_RATIO = 1.5;
/** A class that holds less than this part of the candidate's runs hides nothing worth a hold. */
const EXCLUSION_FLOOR = 0.01;
/** Two leases: by then every runtime has applied a change of weight, or serves stable. */
const SETTLING_TICKS = 30;
const TOTAL_WEIGHT = 100_000;

interface Expected {
  readonly tick: number;
  readonly candidateWeight: number;
}

/** What replaying needs besides the ledger; made once for a replay. */
export interface ExposurePlan {
  readonly expected: readonly Expected[];
  /** By weight: grids of too many and of too few candidate assignments. */
  readonly grids: Map<number, { above: Grid; below: Grid }>;
  readonly logL: number[];
  readonly arms: TwoArms;
}

export function exposurePlanOf(expected: readonly Expected[]): ExposurePlan {
  const arms = { candidateRuns: 0, candidateBad: 0, stableRuns: 0, stableBad: 0 };
  return { expected, grids: new Map(), logL: [], arms };
}

/** A whole tick, up to where it is decided on. */
export function stepExposure(
  plan: ExposurePlan,
  state: ExposureState,
  { tick, isClosed, candidate, stable }: TickOfArms,
): void {
  if (isClosed) stepExclusions(plan, state, candidate, stable);
  stepSampleRatio(plan, state, tick, candidate.assigned, stable.assigned);
}

/** Places restarts of this weight after a tick. The sample ratio's detectors place their own. */
export function endExposure(state: ExposureState, weight: number): void {
  for (const detector of state.exclusions) addRelativeRestarts(detector, weight);
}

export function addExposureLump(state: ExposureState): void {
  state.exclusions.forEach(addRelativeLump);
}

export function exclusionsOf({ exposure }: LedgerPrefix): ExclusionEvidence[] {
  const { excluded, runs } = exposure;
  return EXCLUSIONS.map((exclusion, x) => ({
    exclusion,
    logE: relativeLogE(exposure.exclusions[x] as ExposureState["exclusions"][number]),
    candidateRate: part(excluded.candidate[x] as number, runs.candidate),
    stableRate: part(excluded.stable[x] as number, runs.stable),
  }));
}

/** Whether more of the candidate's runs than of stable's are excluded. */
export function isExclusionExcess(state: ExposureState): boolean {
  if (state.excluded.candidate.every((k) => k === 0)) return false;
  const logE = state.exclusions.map(relativeLogE);
  if (logSumExp(logE) - Math.log(EXCLUSIONS.length) < NEEDED_LOG_E) return false;
  const worst = logE.indexOf(Math.max(...logE));
  return part(state.excluded.candidate[worst] as number, state.runs.candidate) > EXCLUSION_FLOOR;
}

export function exposureOf({ exposure }: LedgerPrefix): ExposureEvidence {
  const logETooMany = logEvidence(exposure.above);
  const logETooFew = logEvidence(exposure.below);
  const logE = logSumExp([logETooMany, logETooFew]) - Math.LN2;
  return { logE, logETooMany, logETooFew, neededLogE: NEEDED_LOG_E };
}

export function isMismatch(prefix: LedgerPrefix): boolean {
  return prefix.exposure.tested > 0 && exposureOf(prefix).logE >= NEEDED_LOG_E;
}

function stepExclusions({ arms, logL }: ExposurePlan, state: ExposureState, candidate: Counts, stable: Counts): void {
  const pending = pendingOf(stable);
  // Lost runs are in no class because nobody knows.
  arms.candidateRuns = runsOf(candidate);
  arms.stableRuns = runsOf(stable);
  state.runs.candidate += arms.candidateRuns;
  state.runs.stable += arms.stableRuns;
  for (let x = 0; x < EXCLUSIONS.length; x++) {
    const exclusion = EXCLUSIONS[x] as (typeof EXCLUSIONS)[number];
    const candidateExcluded = candidate.excluded[exclusion];
    const stableExcluded = stable.excluded[exclusion];
    // Nobody was, and nobody can be any more: the tick says nothing.
    if (candidateExcluded + stableExcluded + pending === 0) continue;
    state.excluded.candidate[x] = (state.excluded.candidate[x] as number) + candidateExcluded;
    state.excluded.stable[x] = (state.excluded.stable[x] as number) + stableExcluded;
    arms.candidateBad = candidateExcluded;
    arms.stableBad = stableExcluded + pending;
    stepRelative(state.exclusions[x] as ExposureState["exclusions"][number], MAX_ODDS_RATIO, arms, logL);
  }
}

function stepSampleRatio(
  plan: ExposurePlan,
  state: ExposureState,
  tick: number,
  candidate: number,
  stable: number,
): void {
  if (plan.expected.length === 0 || candidate + stable === 0) return;
  const expected = plan.expected.findLast((entry) => entry.tick <= tick);
  if (expected === undefined || tick < expected.tick + SETTLING_TICKS) return;
  const weight = expected.candidateWeight;
  if (weight === 0 || weight === TOTAL_WEIGHT) return;
  const { above, below } = gridsOf(plan, weight);
  // Restarts go before the tick, which is between ticks as well, so that what is read is what was decided on.
  if (state.tested > 0) {
    const logWeight = logSpent(state.tested - 1, 1);
    addRestarts(state.above, logWeight);
    addRestarts(state.below, logWeight);
  }
  likelihoodOfCounts(above, stable, candidate, plan.logL);
  multiply(state.above, plan.logL);
  likelihoodOfCounts(below, candidate, stable, plan.logL);
  multiply(state.below, plan.logL);
  state.tested += 1;
}

function gridsOf(plan: ExposurePlan, weight: number): { above: Grid; below: Grid } {
  const found = plan.grids.get(weight);
  if (found) return found;
  const odds = weight / (TOTAL_WEIGHT - weight);
  const most = odds * MAX_ODDS_RATIO;
  const leastStable = 1 / (odds / MAX_ODDS_RATIO);
  const grids = { above: gridOf(most / (1 + most)), below: gridOf(leastStable / (1 + leastStable)) };
  plan.grids.set(weight, grids);
  return grids;
}

function runsOf(counts: Counts): number {
  return Math.max(0, counts.assigned - counts.lost);
}

function part(k: number, n: number): number {
  return n === 0 ? 0 : k / n;
}
