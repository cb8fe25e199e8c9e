/**
 * The relative e-detector (BRAIN 2.3): are the candidate's odds of a bad run more than `rho` times stable's? It looks only
 * at which arm the bad runs of a tick fell on. Given how many runs each arm had and how many were bad in all, that number
 * has Fisher's noncentral hypergeometric law in the odds ratio alone, so a failure rate that both arms share, however it
 * moves, cancels (Lindon and Malek, arXiv 2011.03567, in its finite-sample form).
 *
 * Pending runs count as good on the candidate and as bad on stable. The imputed e-value is at most the completed one, for
 * each alternative psi and each tick. Write r = psi/rho > 1 and X for the law at rho, so e = r^k / E[r^X]. Then,
 * one run at a time:
 * - a pending candidate run turns bad: k and K grow by one, and X grows by at most one (couple the two draws), so E[r^X]
 *   grows by at most r, which r^k does exactly;
 * - a pending candidate run is excluded: X becomes X given that this run was good. Given that it was bad X is one more
 *   than a draw of one failure less, hence larger in law, so the good part lies below the mixture and E[r^X] falls;
 * - a pending stable run turns good: K falls by one with the arms as they are, X falls in law, E[r^X] falls;
 * - a pending stable run is excluded: X becomes X given that this run was bad, which is the smaller part, and E[r^X] falls;
 * - a run stays what it was imputed as: nothing changes.
 * Restarts are paid by the assignments, which are known, so the whole detector's evidence is at most the completed one's.
 */
import { ALTERNATIVES, LOG_PRIOR, logAddExp, logEvidence, newLogS, STAGE_LUMP } from "./detector.ts";

/** The odds ratios that are bet on, as multiples of rho (BRAIN 2.3); prior weights are those of the absolute detector. */
const ODDS_STEPS = [1.25, 1.6, 2.4, 4.5, 12, 50] as const;
const LOG_ODDS_STEPS: readonly number[] = ODDS_STEPS.map(Math.log);
/** Sums of products are kept below this by scaling. Its log is exact enough: it is added back as often as it is taken. */
const LARGE = 1e200;
const LOG_LARGE = Math.log(LARGE);
const STEPS_AND_ONE: readonly number[] = [...ODDS_STEPS, 1];
const SUMS = STEPS_AND_ONE.length;

/** Six logarithms, and the weight of restarts that no bad run has been multiplied into yet: until then they are all alike. */
export interface RelativeState {
  logS: number[];
  unspent: number;
}

/** One tick of both arms. */
export interface TwoArms {
  candidateRuns: number;
  candidateBad: number;
  stableRuns: number;
  stableBad: number;
}

export function newRelative(): RelativeState {
  return { logS: newLogS(), unspent: 0 };
}

export function cloneRelative({ logS, unspent }: RelativeState): RelativeState {
  return { logS: [...logS], unspent };
}

/** Multiplies a tick in. False, and nothing has happened, where the tick's labels could have been no other. */
export function stepRelative(state: RelativeState, maxOddsRatio: number, arms: TwoArms, logL: number[]): boolean {
  if (!likelihoodOfLabels(maxOddsRatio, arms, logL)) return false;
  const { logS } = state;
  const logUnspent = Math.log(state.unspent);
  for (let j = 0; j < ALTERNATIVES; j++) {
    const before = logS[j] as number;
    const placed = state.unspent > 0 ? logAddExp(before, (LOG_PRIOR[j] as number) + logUnspent) : before;
    logS[j] = placed + (logL[j] as number);
  }
  state.unspent = 0;
  return true;
}

/** logE as it is decided on, before the tick's own restarts. */
export function relativeLogE({ logS, unspent }: RelativeState): number {
  const logE = logEvidence(logS);
  return unspent > 0 ? logAddExp(logE, Math.log(unspent)) : logE;
}

/** Adds restarts of this total weight, which bet from the next tick on. */
export function addRelativeRestarts(state: RelativeState, weight: number): void {
  state.unspent += weight;
}

export function addRelativeLump(state: RelativeState): void {
  state.unspent += STAGE_LUMP;
}

/**
 * `ln e_j` of one tick for each alternative, into `logL`; false where every e_j is 1. The normalising sums run by the
 * ratio of neighbouring terms, h(k+1)/h(k) = (K-k)(n_c-k) / ((k+1)(n_s-K+k+1)), from the least k that is possible; what all
 * have in common cancels.
 */
function likelihoodOfLabels(rho: number, arms: TwoArms, logL: number[]): boolean {
  const { candidateRuns, candidateBad, stableRuns, stableBad } = arms;
  const bad = candidateBad + stableBad;
  const least = Math.max(0, bad - stableRuns);
  const most = Math.min(bad, candidateRuns);
  if (least >= most) return false;

  // At psi_0 to psi_5, and last at rho itself.
  const terms = [1, 1, 1, 1, 1, 1, 1];
  const sums = [1, 1, 1, 1, 1, 1, 1];
  const scales = [0, 0, 0, 0, 0, 0, 0];
  for (let k = least; k < most; k++) {
    const ratio = (rho * (bad - k) * (candidateRuns - k)) / ((k + 1) * (stableRuns - bad + k + 1));
    for (let j = 0; j < SUMS; j++) {
      const term = (terms[j] as number) * ratio * (STEPS_AND_ONE[j] as number);
      const sum = (sums[j] as number) + term;
      if (sum > LARGE) {
        terms[j] = term / LARGE;
        sums[j] = sum / LARGE;
        scales[j] = (scales[j] as number) + LOG_LARGE;
      } else {
        terms[j] = term;
        sums[j] = sum;
      }
    }
  }
  const logAtRho = Math.log(sums[ALTERNATIVES] as number) + (scales[ALTERNATIVES] as number);
  for (let j = 0; j < ALTERNATIVES; j++) {
    const logAtPsi = Math.log(sums[j] as number) + (scales[j] as number);
    logL[j] = (candidateBad - least) * (LOG_ODDS_STEPS[j] as number) + logAtRho - logAtPsi;
  }
  return true;
}
