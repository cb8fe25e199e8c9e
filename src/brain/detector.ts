/**
 * The spending Shiryaev-Roberts e-detector of one guardrail (BRAIN 2.2), for 0/1 badness and, by the piecewise chord, for
 * fractions (BRAIN 2.4). Its state is six logarithms, not sums with a common scale: a bet that is nothing beside another today
 * may be all that is left tomorrow. The functions that take `logS` change it in place, because this is the hot path.
 *
 * Array indices below are in range by construction, which is what `as number` says.
 */

/** Distance of each alternative from p0 in log odds (BRAIN 2.2, grid d). */
const LOG_ODDS_STEPS = [0.2, 0.45, 0.85, 1.5, 2.7, 5.0] as const;
/** Prior weight of each alternative (BRAIN 2.2, pi). */
const PRIOR = [0.1, 0.18, 0.18, 0.18, 0.18, 0.18] as const;
export const LOG_PRIOR: readonly number[] = PRIOR.map(Math.log);

/** Spending schedule (BRAIN 2.2): weight placed at the start, weight spread over the horizon, and the horizon's scale. */
const START_WEIGHT = 0.7;
const HORIZON_WEIGHT = 0.3;
const HORIZON_OUTCOMES = 2_000;
/** logE before the first outcome. */
export const START_LOG_E = Math.log(START_WEIGHT);
/** Weight added when a later stage begins, and what each later stage adds to C (BRAIN 2.2, s_k). */
export const STAGE_LUMP = 0.05;

/** Alternatives that are bet on, in each detector. */
export const ALTERNATIVES = LOG_ODDS_STEPS.length;
/** Equal bins over [0, 1] that fractions are counted in. */
export const BINS = 10;
/** Badness 1, in the integer unit that ledgers count in. */
export const MILLIONTHS = 1_000_000;
const BIN_WIDTH = MILLIONTHS / BINS;
const EDGES = BINS + 1;

/** What a detector needs to know about its guardrail; made once from p0. Not stored. */
export interface Grid {
  readonly p0: number;
  /** The badness rates q_j that are bet on. */
  readonly alternatives: readonly number[];
  /** `ln L_j` of a good outcome (b_j). */
  readonly good: readonly number[];
  /** `ln L_j` of a bad outcome (a_j). */
  readonly bad: readonly number[];
  /** `ln L_j(x)` at the bins' edges x = 0, 0.1, ..., 1; one row of eleven for each alternative. */
  readonly edges: readonly number[];
}

/** Counts of fractions by bin of badness; `sum` is in millionths. Ten entries each. */
export interface Bins {
  n: number[];
  sum: number[];
}

/** The grid of a guardrail that allows the badness rate `p0`, in (0, 1). */
export function gridOf(p0: number): Grid {
  // With r = exp(d) and D = 1 + p0 (r - 1): q/p0 = r/D and (1-q)/(1-p0) = 1/D. No difference of near-equal numbers, at any p0.
  const logD = LOG_ODDS_STEPS.map((d) => Math.log1p(p0 * Math.expm1(d)));
  const good = logD.map((value) => -value);
  const bad = LOG_ODDS_STEPS.map((d, j) => d - (logD[j] as number));
  const edges: number[] = [];
  for (let j = 0; j < ALTERNATIVES; j++) {
    for (let edge = 0; edge <= BINS; edge++)
      edges.push(logLikelihood(good[j] as number, bad[j] as number, edge / BINS));
  }
  return { p0, alternatives: bad.map((value) => p0 * Math.exp(value)), good, bad, edges };
}

/** `ln L(x)` of one fraction. L is linear in x, from exp(good) at 0 to exp(bad) at 1. */
function logLikelihood(good: number, bad: number, x: number): number {
  if (x === 0) return good;
  if (x === 1) return bad;
  return Math.log((1 - x) * Math.exp(good) + x * Math.exp(bad));
}

/** Total weight placed by the time that `assigned` runs were assigned: W(n), from 0.7 towards 1, without stage lumps. */
export function spendingSchedule(assigned: number): number {
  return START_WEIGHT + HORIZON_WEIGHT * (1 - 1 / Math.sqrt(1 + assigned / HORIZON_OUTCOMES));
}

/** `ln(W(before + n) - W(before))`, without cancellation; `-Infinity` when n is 0. */
export function logSpent(before: number, n: number): number {
  const from = Math.sqrt(1 + before / HORIZON_OUTCOMES);
  const to = Math.sqrt(1 + (before + n) / HORIZON_OUTCOMES);
  return Math.log((HORIZON_WEIGHT * (n / HORIZON_OUTCOMES)) / ((from + to) * from * to));
}

/** The state before the first outcome: `ln(pi_j w0)`. */
export function newLogS(): number[] {
  return LOG_PRIOR.map((value) => value + Math.log(START_WEIGHT));
}

/** `ln L_j` of a tick, for each alternative, into `logL`: `good` and `bad` outcomes, also fractional numbers of them. */
export function likelihoodOfCounts(grid: Grid, good: number, bad: number, logL: number[]): void {
  for (let j = 0; j < ALTERNATIVES; j++) {
    logL[j] = bad * (grid.bad[j] as number) + good * (grid.good[j] as number);
  }
}

/**
 * A lower bound of a tick's `ln L_j` of fractions, into `logL`. `ln L_j` is concave, so inside a bin it lies above the
 * chord between the bin's edges, and a bin's count and sum say how much of the chord's ends it weighs.
 */
export function likelihoodOfFractions(grid: Grid, bins: Bins, extraGood: number, logL: number[]): void {
  const weights = new Array<number>(EDGES).fill(0);
  weights[0] = extraGood;
  for (let bin = 0; bin < BINS; bin++) {
    const n = bins.n[bin] as number;
    if (n === 0) continue;
    const upper = ((bins.sum[bin] as number) - bin * BIN_WIDTH * n) / BIN_WIDTH;
    weights[bin] = (weights[bin] as number) + (n - upper);
    weights[bin + 1] = (weights[bin + 1] as number) + upper;
  }
  for (let j = 0; j < ALTERNATIVES; j++) {
    let sum = 0;
    for (let edge = 0; edge < EDGES; edge++) {
      sum += (weights[edge] as number) * (grid.edges[j * EDGES + edge] as number);
    }
    logL[j] = sum;
  }
}

/** Multiplies a tick's likelihood in. */
export function multiply(logS: number[], logL: readonly number[]): void {
  for (let j = 0; j < ALTERNATIVES; j++) logS[j] = (logS[j] as number) + (logL[j] as number);
}

/** Bin of a fraction in millionths. The last bin holds 1. */
export function binOf(millionths: number): number {
  return Math.min(BINS - 1, Math.floor(millionths / BIN_WIDTH));
}

/** `logE`: the natural log of the e-value, `logsumexp(ln S_j)`. */
export function logEvidence(logS: readonly number[]): number {
  return logSumExp(logS);
}

/** Adds restarts of total weight `exp(logWeight)`, which bet from the next outcome on. */
export function addRestarts(logS: number[], logWeight: number): void {
  for (let j = 0; j < ALTERNATIVES; j++) {
    logS[j] = logAddExp(logS[j] as number, (LOG_PRIOR[j] as number) + logWeight);
  }
}

export const LOG_STAGE_LUMP = Math.log(STAGE_LUMP);

/** Adds the restarts that a later stage's beginning pays for. */
export function addStageLump(logS: number[]): void {
  addRestarts(logS, LOG_STAGE_LUMP);
}

/** The weighted sum over guardrails must reach this: `ln(C / alpha)` with `C = 1 + 0.05 (stages - 1)`. */
export function logThreshold(alpha: number, stages: number): number {
  return Math.log((1 + STAGE_LUMP * (stages - 1)) / alpha);
}

/** Beyond this distance in logs the lesser of two is no digit of their sum: e^-40 is below half an ulp of 1. */
const NEGLIGIBLE = 40;

/** `ln(exp(a) + exp(b))` that never overflows. */
export function logAddExp(a: number, b: number): number {
  if (Math.abs(a - b) > NEGLIGIBLE) return Math.max(a, b);
  return a > b ? a + Math.log1p(Math.exp(b - a)) : b + Math.log1p(Math.exp(a - b));
}

/** `ln(sum of exp)` that never overflows; `-Infinity` for nothing. */
export function logSumExp(values: readonly number[]): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const value of values) if (value > max) max = value;
  if (max === Number.NEGATIVE_INFINITY) return max;
  let sum = 0;
  for (const value of values) sum += Math.exp(value - max);
  return max + Math.log(sum);
}

/** One detector on its own, for streams that no ledger holds: backtests, benchmarks, explanations. */
export interface Detector {
  readonly grid: Grid;
  readonly logS: number[];
  /** Room for a tick's likelihood. */
  readonly logL: number[];
  /** Outcomes so far: the spending schedule's argument. */
  assigned: number;
}

export function newDetector(p0: number): Detector {
  return { grid: gridOf(p0), logS: newLogS(), logL: [], assigned: 0 };
}

/** One tick of `n` outcomes, `k` of them bad. Returns logE as it is decided on: before the tick's restarts are added. */
export function stepDetector(detector: Detector, n: number, k: number): number {
  likelihoodOfCounts(detector.grid, n - k, k, detector.logL);
  multiply(detector.logS, detector.logL);
  return closeTick(detector, n);
}

/** One tick of fractions. Returns logE as it is decided on. */
export function stepDetectorByFractions(detector: Detector, bins: Bins): number {
  likelihoodOfFractions(detector.grid, bins, 0, detector.logL);
  multiply(detector.logS, detector.logL);
  return closeTick(
    detector,
    bins.n.reduce((sum, n) => sum + n, 0),
  );
}

function closeTick(detector: Detector, n: number): number {
  const logE = logEvidence(detector.logS);
  addRestarts(detector.logS, logSpent(detector.assigned, n));
  detector.assigned += n;
  return logE;
}
