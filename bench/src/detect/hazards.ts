/**
 * BRAIN 3.7 on the product's detectors: correlated tool calls, duplicates, ticks of any size, quality as a fraction, and the
 * proof of recovery.
 */
import {
  type Bins,
  isProvenHealthy,
  logThreshold,
  newDetector,
  stepDetector,
  stepDetectorByFractions,
} from "@flagback/core";
import { nextIsBad, xoshiro128 } from "../rng.ts";
import type { Experiment } from "./experiment.ts";
import { P0 } from "./peers.ts";
import { advanceProduct, startProduct } from "./product.ts";
import { nextBeta, nextPoisson } from "./random.ts";

const THRESHOLD = logThreshold(0.01, 1);
const NEVER = Number.POSITIVE_INFINITY;
const MILLIONTHS = 1_000_000;

/** (b) A run has 1 + Poisson(4) tool calls that fail at a rate of its own, Beta with an intra-run correlation. Delays in runs. */
export const TOOL_CASES = [
  { mean: 0.025, correlation: 0.3 },
  { mean: 0.028, correlation: 0.3 },
  { mean: 0.028, correlation: 0 },
  { mean: 0.1, correlation: 0.3 },
  { mean: 0.3, correlation: 0.3 },
  { mean: 0.1, correlation: 0 },
] as const;
export const TOOL_COLUMNS = ["each call a trial", "flagback: fraction of the run"] as const;
const TOOL_RUNS = 20_000;
const TOOL_LIMIT = 0.03;

export function toolFailureExperiment({ mean, correlation }: (typeof TOOL_CASES)[number]): Experiment {
  return {
    id: `hazard b ${mean} ${correlation}`,
    seedBase: 5_000_000,
    full: 1_000,
    quick: 30,
    columns: TOOL_COLUMNS,
    replicate: (seed) => {
      const next = xoshiro128(seed);
      const perCall = newDetector(TOOL_LIMIT);
      const perRun = newDetector(TOOL_LIMIT);
      const one = newOne();
      let callStop = NEVER;
      let runStop = NEVER;
      for (let run = 1; run <= TOOL_RUNS && (callStop === NEVER || runStop === NEVER); run++) {
        const calls = 1 + nextPoisson(next, 4);
        const size = 1 / correlation - 1;
        const rate = correlation === 0 ? mean : nextBeta(next, mean * size, (1 - mean) * size);
        let errors = 0;
        for (let call = 0; call < calls; call++) if (nextIsBad(next, rate)) errors += 1;
        if (callStop === NEVER && stepDetector(perCall, calls, errors) >= THRESHOLD) callStop = run;
        if (runStop === NEVER) {
          setOne(one, Math.floor((errors * MILLIONTHS) / calls));
          if (stepDetectorByFractions(perRun, one) >= THRESHOLD) runStop = run;
        }
      }
      return [callStop, runStop];
    },
  };
}

/** (c) Reports of failures are retried, and half of them arrive twice. */
export const DUPLICATE_COLUMNS = ["every report counts", "one outcome a run", "without duplicates"] as const;
const DUPLICATE_RUNS = 10_000;

export function duplicateExperiment(): Experiment {
  return {
    id: "hazard c",
    seedBase: 6_000_000,
    full: 2_000,
    quick: 60,
    columns: DUPLICATE_COLUMNS,
    replicate: (seed) => {
      const next = xoshiro128(seed);
      const reports: { readonly run: number; readonly bit: number }[] = [];
      const bits = new Uint8Array(DUPLICATE_RUNS);
      for (let run = 0; run < DUPLICATE_RUNS; run++) {
        const bit = nextIsBad(next, 0.04) ? 1 : 0;
        bits[run] = bit;
        reports.push({ run, bit });
        if (bit === 1 && nextIsBad(next, 0.5)) reports.push({ run, bit });
      }
      const seen = new Set<number>();
      const once = reports.filter(({ run }) => !seen.has(run) && seen.add(run));
      return [
        stopOf(Uint8Array.from(reports, ({ bit }) => bit)),
        stopOf(Uint8Array.from(once, ({ bit }) => bit)),
        stopOf(bits),
      ];
    },
  };
}

function stopOf(bits: Uint8Array): number {
  const run = startProduct([THRESHOLD]);
  advanceProduct(run, bits, bits.length);
  return run.stops[0] as number;
}

/** (d) Ticks of other sizes than one outcome, from the start and after 5 000 outcomes at 1 %. */
export const TICK_SIZES = [1, 10, 50, 100] as const;
export const TICK_CASES = [
  { rate: 0.15, nu: 0 },
  { rate: 0.15, nu: 5_000 },
  { rate: 0.6, nu: 0 },
  { rate: 0.6, nu: 5_000 },
] as const;

export function tickSizeExperiment({ rate, nu }: (typeof TICK_CASES)[number]): Experiment {
  const length = nu + 10_000;
  return {
    id: `hazard d ${rate} ${nu}`,
    seedBase: 2_000_000,
    full: 2_000,
    quick: 100,
    columns: TICK_SIZES.map((size) => `tick ${size}`),
    replicate: (seed) => {
      const next = xoshiro128(seed);
      const bits = Uint8Array.from({ length }, (_, i) => (nextIsBad(next, i < nu ? 0.01 : rate) ? 1 : 0));
      return TICK_SIZES.map((size) => {
        const detector = newDetector(P0);
        for (let end = size; end <= length; end += size) {
          let bad = 0;
          for (let i = end - size; i < end; i++) bad += bits[i] as number;
          if (stepDetector(detector, size, bad) >= THRESHOLD) return end - nu;
        }
        return NEVER;
      });
    },
  };
}

/** (f) Quality of at least .8 is wanted; it is Beta with a standard deviation of .15. */
export const QUALITY_MEANS = [0.82, 0.75, 0.7, 0.5] as const;
const QUALITY_OUTCOMES = 20_000;
const QUALITY_VARIANCE = 0.15 ** 2;

export function qualityExperiment(mean: number): Experiment {
  const size = (mean * (1 - mean)) / QUALITY_VARIANCE - 1;
  return {
    id: `hazard f ${mean}`,
    seedBase: 9_000_000,
    full: 1_000,
    quick: 40,
    columns: ["flagback"],
    replicate: (seed) => {
      const next = xoshiro128(seed);
      const detector = newDetector(0.2);
      const one = newOne();
      for (let n = 1; n <= QUALITY_OUTCOMES; n++) {
        setOne(one, Math.floor((1 - nextBeta(next, mean * size, (1 - mean) * size)) * MILLIONTHS));
        if (stepDetectorByFractions(detector, one) >= THRESHOLD) return [n];
      }
      return [NEVER];
    },
  };
}

/** (g) Outcomes until stable is proven healthy. */
export const RECOVERY_RATES = [0.005, 0.01, 0.02, 0.03, 0.04, 0.05] as const;
const RECOVERY_OUTCOMES = 5_000;

export function recoveryExperiment(rate: number): Experiment {
  return {
    id: `hazard g ${rate}`,
    seedBase: 10_000_000,
    full: 2_000,
    quick: 60,
    columns: ["flagback"],
    replicate: (seed) => {
      const next = xoshiro128(seed);
      let bad = 0;
      for (let n = 1; n <= RECOVERY_OUTCOMES; n++) {
        if (nextIsBad(next, rate)) bad += 1;
        else if (isProvenHealthy(P0, n, bad)) return [n];
      }
      return [NEVER];
    },
  };
}

/** Bins of a single fraction. */
function newOne(): Bins {
  return { n: new Array<number>(10).fill(0), sum: new Array<number>(10).fill(0) };
}

function setOne(one: Bins, millionths: number): void {
  one.n.fill(0);
  one.sum.fill(0);
  const bin = Math.min(9, Math.floor(millionths / (MILLIONTHS / 10)));
  one.n[bin] = 1;
  one.sum[bin] = millionths;
}
