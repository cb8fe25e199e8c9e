/** The product's detector on 0/1 streams, and the two oracles that know the bad rate and bound what any rule can do. */
import { addStageLump, type Detector, logThreshold, newDetector, stepDetector } from "@flagback/core";
import { CONTRACT, P0 } from "./peers.ts";

/** One guardrail with all of alpha, and one that is the fourth of four. */
export const THRESHOLDS: readonly number[] = [logThreshold(0.01, 1), logThreshold(0.01 / 4, 1)];

/** A detector partway through a stream, and where each threshold was reached. */
export interface ProductRun {
  readonly detector: Detector;
  readonly thresholds: readonly number[];
  /** Number of the outcome that reached the threshold, `Infinity` so far otherwise. */
  readonly stops: number[];
  outcomes: number;
}

export function startProduct(thresholds: readonly number[] = THRESHOLDS, p0 = P0): ProductRun {
  return {
    detector: newDetector(p0),
    thresholds,
    stops: thresholds.map(() => Number.POSITIVE_INFINITY),
    outcomes: 0,
  };
}

/** A copy that goes on by itself: streams that differ only after their break share what comes before it. */
export function forkProduct(run: ProductRun): ProductRun {
  const { detector, stops } = run;
  return { ...run, detector: { ...detector, logS: [...detector.logS], logL: [] }, stops: [...stops] };
}

/** Judges each outcome as a tick of its own, up to the `through`th, or until every threshold is reached. */
export function advanceProduct(run: ProductRun, bits: Uint8Array, through: number): void {
  const { detector, thresholds, stops } = run;
  let waiting = stops.filter((stop) => stop === Number.POSITIVE_INFINITY).length;
  if (waiting === 0) return;
  let lowest = lowestWaiting(thresholds, stops);
  for (let n = run.outcomes + 1; n <= through; n++) {
    const logE = stepDetector(detector, 1, bits[n - 1] as number);
    if (logE < lowest) continue;
    for (let i = 0; i < stops.length; i++) {
      if (stops[i] === Number.POSITIVE_INFINITY && logE >= (thresholds[i] as number)) {
        stops[i] = n;
        waiting -= 1;
      }
    }
    if (waiting === 0) return;
    lowest = lowestWaiting(thresholds, stops);
  }
  run.outcomes = through;
}

export function beginProductStage(run: ProductRun): void {
  addStageLump(run.detector.logS);
}

function lowestWaiting(thresholds: readonly number[], stops: readonly number[]): number {
  return Math.min(...thresholds.filter((_, i) => stops[i] === Number.POSITIVE_INFINITY));
}

/** Kullback-Leibler divergence of a bad rate from the limit, in nats per outcome. */
function divergence(p1: number, p0 = P0): number {
  const good = p1 === 1 ? 0 : (1 - p1) * Math.log((1 - p1) / (1 - p0));
  return p1 * Math.log(p1 / p0) + good;
}

/** ln(100) / KL: what no test with alpha = .01 can beat on average, when the break is at the start and alpha is small. */
export function boundOutcomes(p1: number): number {
  return Math.log(100) / divergence(p1);
}

/** Wald's test for exactly this bad rate, which bets from the first outcome only; its threshold is that of alpha = .01. */
export function oracleSprt(bits: Uint8Array, length: number, p1: number): number {
  const whenBad = Math.log(p1 / P0);
  const whenGood = Math.log((1 - p1) / (1 - P0));
  let logRatio = 0;
  for (let n = 1; n <= length; n++) {
    logRatio += bits[n - 1] === 1 ? whenBad : whenGood;
    if (logRatio >= Math.log(100)) return n;
    // With a bad rate of 1 a single good outcome settles it.
    if (logRatio === Number.NEGATIVE_INFINITY) break;
  }
  return Number.POSITIVE_INFINITY;
}

/** Shiryaev and Roberts' rule for exactly this bad rate; its threshold holds the contract, because E[R_n] = n at the limit. */
export function oracleShiryaevRoberts(bits: Uint8Array, length: number, p1: number): number {
  const whenBad = p1 / P0;
  const whenGood = (1 - p1) / (1 - P0);
  const threshold = CONTRACT.outcomes / CONTRACT.falseRate;
  let ratio = 0;
  for (let n = 1; n <= length; n++) {
    ratio = (ratio + 1) * (bits[n - 1] === 1 ? whenBad : whenGood);
    if (ratio >= threshold) return n;
  }
  return Number.POSITIVE_INFINITY;
}
