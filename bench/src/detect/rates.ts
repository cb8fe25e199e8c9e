/**
 * BRAIN 3.1 to 3.3: how often a healthy candidate is rolled back, and after how many outcomes a broken one is, by the
 * product, its peers and the oracles.
 */
import { logThreshold, newDetector, stepDetector } from "@flagback/core";
import type { Experiment } from "./experiment.ts";
import { CONTRACT, PEERS } from "./peers.ts";
import {
  advanceProduct,
  beginProductStage,
  forkProduct,
  oracleShiryaevRoberts,
  oracleSprt,
  type ProductRun,
  startProduct,
  THRESHOLDS,
} from "./product.ts";
import { fillStream, fillWords, newStream, type Stream } from "./streams.ts";

export const PRODUCT = "flagback alpha .01";
export const PRODUCT_QUARTER = "flagback alpha .0025 (1 of 4 guardrails)";
export const ORACLE_SPRT = "oracle SPRT alpha .01";
export const ORACLE_SR = "oracle Shiryaev-Roberts";

/** Rates of the candidates that should not be rolled back, up to exactly the limit. */
export const HEALTHY_RATES = [0.01, 0.02, 0.03, 0.04, 0.045, 0.05] as const;
/** Rates of the candidates that should. */
export const BROKEN_RATES = [0.06, 0.08, 0.1, 0.15, 0.3, 0.6, 1] as const;
/** A broken candidate that runs for so many outcomes without a stop counts as stopped there. */
export const PATIENCE_OUTCOMES = 30_000;
/** Where a break happens after good outcomes: this many of them. */
export const MID_OUTCOMES = 5_000;
export const DEEP_OUTCOMES = 50_000;
export const PRE_RATES = [0.01, 0.04] as const;
/** A rollout with a lump at the break: C = 1.15. */
const STAGES = 4;
/** Parts of the limits at which the family of four guardrails is tried. */
export const FAMILY_PARTS = [0.9, 1] as const;
const FAMILY_OUTCOMES = 20_000;
const FAMILY_LIMITS = [0.05, 0.05, 0.03, 0.2] as const;

const RATE_COLUMNS = [...PEERS.map((peer) => peer.name), PRODUCT, PRODUCT_QUARTER];
export const DELAY_COLUMNS = [...RATE_COLUMNS, ORACLE_SPRT, ORACLE_SR];

/** Numbers of the outcomes at which a healthy candidate was rolled back. */
export function healthyExperiment(rate: number): Experiment {
  const stream = newStream(CONTRACT.outcomes);
  const words = new Uint32Array(CONTRACT.outcomes);
  return {
    id: `healthy ${rate}`,
    seedBase: 1_000_000,
    full: 2_000,
    quick: rate >= 0.04 ? 40 : 12,
    columns: RATE_COLUMNS,
    replicate: (seed) => {
      fillWords(words, seed, CONTRACT.outcomes);
      fillStream(stream, words, [{ through: CONTRACT.outcomes, rate }]);
      const run = startProduct();
      advanceProduct(run, stream.bits, stream.length);
      return [...PEERS.map((peer) => peer.stop(stream)), ...run.stops];
    },
  };
}

/** Column of a detector in an experiment that has several bad rates. */
export function atRate(rate: number, detector: string): string {
  return `${rate} ${detector}`;
}

/** Numbers of the outcomes at which a candidate is stopped that has the bad rate `pre` for `nu` outcomes, then another. */
export function delayExperiment(pre: number, nu: number): Experiment {
  const length = nu + PATIENCE_OUTCOMES;
  const stream = newStream(length);
  const words = new Uint32Array(length);
  return {
    id: `delay ${pre} ${nu}`,
    seedBase: 2_000_000,
    full: 2_000,
    quick: 100,
    columns: BROKEN_RATES.flatMap((rate) => DELAY_COLUMNS.map((detector) => atRate(rate, detector))),
    replicate: (seed) => {
      fillWords(words, seed, length);
      fillStream(stream, words, [{ through: nu, rate: pre }]);
      const before = startProduct();
      advanceProduct(before, stream.bits, nu);
      return BROKEN_RATES.flatMap((rate) => {
        fillBroken(stream, words, pre, nu, rate, length);
        const run = forkProduct(before);
        advanceProduct(run, stream.bits, length);
        return [
          ...PEERS.map((peer) => peer.stop(stream)),
          ...run.stops,
          oracleSprt(stream.bits, length, rate),
          oracleShiryaevRoberts(stream.bits, length, rate),
        ];
      });
    },
  };
}

/** The product alone, which breaks late. */
export function deepExperiment(): Experiment {
  return productExperiment({ id: "deep", nu: DEEP_OUTCOMES, quick: 20, start: startProduct, atBreak: () => {} });
}

/** The product alone, which breaks exactly where a later stage begins: a lump, and a threshold that pays for it. */
export function stageStartExperiment(): Experiment {
  return productExperiment({
    id: "stage start",
    nu: MID_OUTCOMES,
    quick: 100,
    start: () => startProduct([logThreshold(0.01, STAGES), Number.POSITIVE_INFINITY]),
    atBreak: beginProductStage,
  });
}

interface ProductSetup {
  readonly id: string;
  readonly nu: number;
  readonly quick: number;
  readonly start: () => ProductRun;
  readonly atBreak: (run: ProductRun) => void;
}

function productExperiment({ id, nu, quick, start, atBreak }: ProductSetup): Experiment {
  const length = nu + PATIENCE_OUTCOMES;
  const stream = newStream(length);
  const words = new Uint32Array(length);
  const pre = PRE_RATES[0];
  return {
    id,
    seedBase: 2_000_000,
    full: 2_000,
    quick,
    columns: BROKEN_RATES.map((rate) => atRate(rate, PRODUCT)),
    replicate: (seed) => {
      fillWords(words, seed, length);
      fillStream(stream, words, [{ through: nu, rate: pre }]);
      const before = start();
      advanceProduct(before, stream.bits, nu);
      if (Number.isFinite(before.stops[0])) return BROKEN_RATES.map(() => before.stops[0] as number);
      atBreak(before);
      return BROKEN_RATES.map((rate) => {
        fillBroken(stream, words, pre, nu, rate, length);
        const run = forkProduct(before);
        // Only the first threshold counts here.
        run.stops[1] = 0;
        advanceProduct(run, stream.bits, length);
        return run.stops[0] as number;
      });
    },
  };
}

function fillBroken(stream: Stream, words: Uint32Array, pre: number, nu: number, rate: number, length: number): void {
  fillStream(stream, words, [
    { through: nu, rate: pre },
    { through: length, rate },
  ]);
}

/** Four guardrails with equal shares, each at a part of its limit: the outcome at which their sum reaches the threshold. */
export function familyExperiment(part: number): Experiment {
  const below = FAMILY_LIMITS.map((limit) => Math.floor(part * limit * 2 ** 32));
  const words = new Uint32Array(FAMILY_OUTCOMES * FAMILY_LIMITS.length);
  // The sum of E_i / 4 reaches 100 where the sum of E_i reaches 400.
  const threshold = THRESHOLDS[1] as number;
  return {
    id: `family ${part}`,
    seedBase: 8_000_000,
    full: 2_000,
    quick: 30,
    columns: ["sum rule", "Bonferroni"],
    replicate: (seed) => {
      fillWords(words, seed, words.length);
      const detectors = FAMILY_LIMITS.map((limit) => newDetector(limit));
      let bonferroni = Number.POSITIVE_INFINITY;
      for (let n = 0; n < FAMILY_OUTCOMES; n++) {
        let highest = Number.NEGATIVE_INFINITY;
        let sum = 0;
        for (let g = 0; g < detectors.length; g++) {
          const isBad = (words[n * detectors.length + g] as number) < (below[g] as number);
          // One detector for each limit.
          const logE = stepDetector(detectors[g] as (typeof detectors)[0], 1, isBad ? 1 : 0);
          // Cannot overflow before it has stopped.
          sum += Math.exp(logE);
          if (logE > highest) highest = logE;
        }
        if (highest >= threshold && bonferroni === Number.POSITIVE_INFINITY) bonferroni = n + 1;
        if (sum >= Math.exp(threshold)) return [n + 1, bonferroni];
      }
      return [Number.POSITIVE_INFINITY, bonferroni];
    },
  };
}
