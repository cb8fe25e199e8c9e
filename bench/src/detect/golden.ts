/** BRAIN's golden vectors, which an independent implementation computed, against the product's code. */
import { readFileSync } from "node:fs";
import { isProvenHealthy, logThreshold, newDetector, spendingSchedule, stepDetector } from "@flagback/core";
import { P0 } from "./peers.ts";
import { advanceProduct, startProduct } from "./product.ts";
import { fillStream, fillWords, newStream } from "./streams.ts";

type Steps = readonly (readonly [stops: boolean, logE: number])[];

interface Golden {
  readonly threeFailures: Steps;
  readonly seq_0000000001x3: Steps;
  readonly batch_p03: Steps;
  readonly W: readonly number[];
  readonly recovery_all_good_outcomes_needed: number;
  readonly [other: string]: unknown;
}

/** One group of vectors: the largest error, to be at most `limit`. */
export interface GoldenError {
  readonly what: string;
  readonly error: number;
  readonly limit: number;
}

const FILE = new URL("../../../test/core/brain-golden.json", import.meta.url);
const THRESHOLD = logThreshold(0.01, 1);
/** The file rounds to nine decimals. */
const TOLERANCE = 1e-9;
const SEEDS = 20;
const FIRST_SEED = 2_000_000;
const STREAMS = [
  { name: "stop p1=.15 nu=0 seeds 2000000..19", pre: 0, nu: 0, rate: 0.15 },
  { name: "stop p1=.15 nu=5000 pre=.01 seeds 2000000..19", pre: 0.01, nu: 5_000, rate: 0.15 },
  { name: "stop p1=.30 nu=5000 pre=.04 seeds 2000000..19", pre: 0.04, nu: 5_000, rate: 0.3 },
  { name: "stop p1=1 nu=5000 pre=.01 seeds 2000000..19", pre: 0.01, nu: 5_000, rate: 1 },
] as const;

export function goldenErrors(): GoldenError[] {
  // The file is ours; a shape that differs shows as an error of NaN.
  const golden = JSON.parse(readFileSync(FILE, "utf8")) as Golden;
  const [good, bad] = [[1, 0] as const, [1, 1] as const];
  const nineGoodFiveBad = [...new Array<typeof good>(9).fill(good), ...new Array<typeof bad>(5).fill(bad)];
  const batches = [
    [500, 10],
    [200, 9],
    [200, 25],
    [200, 40],
  ] as const;
  const schedule = [0, 1, 1_000, 5_000, 100_000].map((n, i) => spendingSchedule(n) - (golden.W[i] as number));
  return [
    {
      what: "logE after three failures",
      error: stepsError(P0, [bad, bad, bad], golden.threeFailures),
      limit: TOLERANCE,
    },
    { what: "nine good, then bad", error: stepsError(P0, nineGoodFiveBad, golden.seq_0000000001x3), limit: TOLERANCE },
    { what: "batches at a limit of 3 %", error: stepsError(0.03, batches, golden.batch_p03), limit: TOLERANCE },
    { what: "spending schedule W", error: largest(schedule), limit: TOLERANCE },
    ...STREAMS.map((stream) => ({
      what: stream.name,
      error: largest(stopsOf(stream).map((stop, i) => stop - ((golden[stream.name] as number[])[i] as number))),
      limit: 0,
    })),
    {
      what: "clean outcomes that prove recovery",
      error: cleanOutcomesNeeded() - golden.recovery_all_good_outcomes_needed,
      limit: 0,
    },
    ...[0.01, 0.03, 0.05, 0.2].map((p0) => ({
      what: `least number of bad ones in one batch, limit ${p0}`,
      error: tableError(p0, golden[`min_k_single_batch_p0=${p0}`] as Record<string, number | null>),
      limit: 0,
    })),
  ];
}

/** Largest error of logE; `NaN` where a step stops that should not, or the reverse. */
function stepsError(p0: number, ticks: readonly (readonly [n: number, k: number])[], expected: Steps): number {
  const detector = newDetector(p0);
  const errors = ticks.map(([n, k], i) => {
    const logE = stepDetector(detector, n, k);
    const [stops, value] = expected[i] as Steps[number];
    return logE >= THRESHOLD === stops ? logE - value : Number.NaN;
  });
  return largest(errors);
}

function stopsOf({ pre, nu, rate }: (typeof STREAMS)[number]): number[] {
  const length = nu + 20_000;
  const words = new Uint32Array(length);
  const stream = newStream(length);
  return Array.from({ length: SEEDS }, (_, i) => {
    fillWords(words, FIRST_SEED + i, length);
    fillStream(stream, words, [
      { through: nu, rate: pre },
      { through: length, rate },
    ]);
    const run = startProduct([THRESHOLD]);
    advanceProduct(run, stream.bits, length);
    return run.stops[0] as number;
  });
}

function cleanOutcomesNeeded(): number {
  let n = 0;
  while (!isProvenHealthy(P0, n, 0)) n += 1;
  return n;
}

/** Largest difference of the least k; `null` in the table is "none". */
function tableError(p0: number, table: Record<string, number | null>): number {
  const errors = Object.entries(table).map(([size, expected]) => {
    const n = Number(size);
    let k = 0;
    while (k <= n && stepDetector(newDetector(p0), n, k) < THRESHOLD) k += 1;
    return k - (expected ?? n + 1);
  });
  return largest(errors);
}

function largest(errors: readonly number[]): number {
  return Math.max(...errors.map(Math.abs));
}
