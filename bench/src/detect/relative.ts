/**
 * BRAIN 3.6: candidate against stable, in ticks of ten candidate outcomes, at three candidate weights. Peers look after
 * every tick, which is more often than the products that they model do.
 */
import {
  logThreshold,
  newDetector,
  newRelative,
  relativeLogE,
  spendingSchedule,
  stepDetector,
  stepRelative,
} from "@flagback/core";
import { xoshiro128 } from "../rng.ts";
import type { Experiment } from "./experiment.ts";
import { P0 } from "./peers.ts";

/** The product's comparison as a guardrail decides on it: the lesser of the labels' evidence and the floor's. */
interface RelativeDetector {
  /** One closed tick of both arms. Returns logE as it is decided on: before the tick's own restarts. */
  step(candidate: number, candidateBad: number, stable: number, stableBad: number): number;
}

export const WEIGHTS = [0.01, 0.1, 0.5] as const;
const CANDIDATES_PER_TICK = 10;
const OUTCOMES = 20_000;
const MIN_OUTCOMES = 100;
const RHO = 1.5;
/** A candidate that fails no more often never stops: a fifth of the limit (BRAIN 2.3). */
const FLOOR = 0.2 * P0;
const Z_ONE_SIDED_05 = 1.645;

export interface Scenario {
  readonly name: string;
  /** Bad rates of candidate and stable at the candidate's outcome number n, from 0. */
  readonly rates: (n: number) => readonly [candidate: number, stable: number];
  /** Whether candidate and stable share what happens, so that a relative stop is a mistake. */
  readonly isNull: boolean;
  /** Candidate outcomes before the break. */
  readonly nu: number;
}

export const SCENARIOS: readonly Scenario[] = [
  shared("null .01 both", () => 0.01),
  shared("null .04 both", () => 0.04),
  // Four days.
  shared("null diurnal .005-.045 both", (n) => 0.025 + 0.02 * Math.sin((2 * Math.PI * n) / 5_000)),
  shared("shared incident .01 to .30 at 2 000", (n) => (n < 2_000 ? 0.01 : 0.3)),
  broken("candidate .03, stable .01", 0.03, 0),
  broken("candidate .05, stable .01", 0.05, 0),
  broken("candidate .10, stable .01", 0.1, 0),
  broken("candidate .30, stable .01", 0.3, 0),
  broken("candidate 1.0, stable .01", 1, 0),
  broken("candidate .10 from 5 000 on, stable .01", 0.1, 5_000),
  broken("candidate .30 from 5 000 on, stable .01", 0.3, 5_000),
  { name: "candidate .45, stable .30", rates: () => [0.45, 0.3], isNull: false, nu: 0 },
];

export const RELATIVE_PRODUCT = `flagback relative rho ${RHO}`;
const RELATIVE_NO_MARGIN = "flagback relative rho 1.0";
export const ABSOLUTE_PRODUCT = "flagback absolute 5 %";
const UNION_PRODUCT = "flagback union (.005 + .005)";
const RELATIVE_PEERS = [
  "naive ratio > 1.5, min 100",
  "peeking two-proportion z-test p < .05, min 100",
  "GrowthBook-style sequence, alpha .05",
  "GrowthBook-style sequence, alpha .01",
] as const;

export const RELATIVE_COLUMNS: readonly string[] = [
  ...RELATIVE_PEERS,
  ABSOLUTE_PRODUCT,
  RELATIVE_PRODUCT,
  RELATIVE_NO_MARGIN,
  UNION_PRODUCT,
];

export function relativeExperiment(scenario: Scenario, weight: number): Experiment {
  return {
    id: `relative ${weight} ${scenario.name}`,
    seedBase: 3_000_000,
    full: 2_000,
    quick: weight < 0.1 ? 12 : 40,
    columns: RELATIVE_COLUMNS,
    replicate: (seed) => stopsOf(seed, scenario, weight),
  };
}

/** Counts so far. */
interface Totals {
  candidate: number;
  candidateBad: number;
  stable: number;
  stableBad: number;
}

/** Candidate outcomes at which each rule stops. */
function stopsOf(seed: number, { rates }: Scenario, weight: number): number[] {
  const next = xoshiro128(seed);
  const stablePerTick = Math.round((CANDIDATES_PER_TICK * (1 - weight)) / weight);
  const totals: Totals = { candidate: 0, candidateBad: 0, stable: 0, stableBad: 0 };
  const rules = [...peerRules(totals), ...productRules()];
  const stops = rules.map(() => Number.POSITIVE_INFINITY);
  let waiting = rules.length;
  for (let n = 0; n < OUTCOMES && waiting > 0; n += CANDIDATES_PER_TICK) {
    const [candidateRate, stableRate] = rates(n);
    const candidateBad = countBad(next, CANDIDATES_PER_TICK, candidateRate);
    const stableBad = countBad(next, stablePerTick, stableRate);
    totals.candidate += CANDIDATES_PER_TICK;
    totals.candidateBad += candidateBad;
    totals.stable += stablePerTick;
    totals.stableBad += stableBad;
    for (let i = 0; i < rules.length; i++) {
      if (stops[i] !== Number.POSITIVE_INFINITY) continue;
      if ((rules[i] as Rule)(CANDIDATES_PER_TICK, candidateBad, stablePerTick, stableBad)) {
        stops[i] = totals.candidate;
        waiting -= 1;
      }
    }
  }
  return stops;
}

/** Whether the rule stops after this tick. */
type Rule = (candidate: number, candidateBad: number, stable: number, stableBad: number) => boolean;

function peerRules(totals: Totals): Rule[] {
  return [
    () => isNaiveRatio(totals),
    () => isZTest(totals),
    () => isSequence(totals, 0.05),
    () => isSequence(totals, 0.01),
  ];
}

function productRules(): Rule[] {
  const whole = logThreshold(0.01, 1);
  const half = logThreshold(0.005, 1);
  const absolute = newDetector(P0);
  // Every rule is asked at each tick until it stops, so this one goes on for the union's sake.
  const unionAbsolute = newDetector(P0);
  const [margin, noMargin, unionRelative] = [
    newRelativeDetector(RHO),
    newRelativeDetector(1),
    newRelativeDetector(RHO),
  ];
  return [
    (candidate, bad) => stepDetector(absolute, candidate, bad) >= whole,
    (...tick) => margin.step(...tick) >= whole,
    (...tick) => noMargin.step(...tick) >= whole,
    (...tick) => {
      const relativeLogE = unionRelative.step(...tick);
      return stepDetector(unionAbsolute, tick[0], tick[1]) >= half || relativeLogE >= half;
    },
  ];
}

/** Against odds ratios up to `rho`. */
function newRelativeDetector(rho: number): RelativeDetector {
  const labels = newRelative();
  const floor = newDetector(FLOOR);
  const logL: number[] = [];
  return {
    step(candidateRuns, candidateBad, stableRuns, stableBad) {
      stepRelative(labels, rho, { candidateRuns, candidateBad, stableRuns, stableBad }, logL);
      const logE = relativeLogE(labels);
      const before = floor.assigned;
      const floorLogE = stepDetector(floor, candidateRuns, candidateBad);
      labels.unspent += spendingSchedule(floor.assigned) - spendingSchedule(before);
      return Math.min(logE, floorLogE);
    },
  };
}

function isNaiveRatio({ candidate, candidateBad, stable, stableBad }: Totals): boolean {
  return candidate >= MIN_OUTCOMES && candidateBad / candidate > (RHO * stableBad) / stable;
}

function isZTest({ candidate, candidateBad, stable, stableBad }: Totals): boolean {
  if (candidate < MIN_OUTCOMES) return false;
  const pooled = (candidateBad + stableBad) / (candidate + stable);
  const error = Math.sqrt(pooled * (1 - pooled) * (1 / candidate + 1 / stable));
  return candidateBad / candidate - stableBad / stable > Z_ONE_SIDED_05 * error;
}

/** peers.ts says where it is from; here for a difference of means, as GrowthBook pools the two variances. */
function isSequence({ candidate, candidateBad, stable, stableBad }: Totals, alpha: number): boolean {
  const candidateRate = candidateBad / candidate;
  const stableRate = stableBad / stable;
  if (candidateRate <= stableRate) return false;
  const n = candidate + stable;
  const variance = n * ((candidateRate * (1 - candidateRate)) / candidate + (stableRate * (1 - stableRate)) / stable);
  if (variance === 0) return false;
  const squaredRho = (-2 * Math.log(2 * alpha) + Math.log(-2 * Math.log(2 * alpha) + 1)) / 5_000;
  const scale = n * squaredRho + 1;
  const halfWidth = Math.sqrt(
    ((2 * variance * scale) / (n * n * squaredRho)) * Math.log1p(Math.sqrt(scale) / (2 * alpha)),
  );
  return candidateRate - stableRate > halfWidth;
}

function countBad(next: () => number, n: number, rate: number): number {
  const below = Math.floor(rate * 2 ** 32);
  let bad = 0;
  for (let i = 0; i < n; i++) if (next() < below) bad += 1;
  return bad;
}

function shared(name: string, rate: (n: number) => number): Scenario {
  return { name, rates: (n) => [rate(n), rate(n)], isNull: true, nu: 0 };
}

function broken(name: string, rate: number, nu: number): Scenario {
  return { name, rates: (n) => [n < nu ? 0.01 : rate, 0.01], isNull: false, nu };
}
