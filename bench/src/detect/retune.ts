/**
 * How the retuned settings are found. For each family a replication gives the strictest setting at which the rule still
 * stops a candidate that sits exactly at the limit; the retuned setting is the loosest one on the family's grid that stops
 * at most the contract's share of them. The rule's shape stays as documented: window 100, interval 60, limit 3, minimum 100.
 */
import { column, type Experiment, type Samples } from "./experiment.ts";
import { CONTRACT, confidenceSequence, P0, type RETUNED } from "./peers.ts";
import { fillStream, fillWords, newStream, type Stream } from "./streams.ts";

type Setting = keyof typeof RETUNED;

/** Settings of the sequence that are tried, loosest first. */
const SEQUENCE_ALPHAS = [0.015, 0.014, 0.013, 0.012, 0.011, 0.01, 0.009, 0.008] as const;
const SEQUENCES = SEQUENCE_ALPHAS.map((alpha) =>
  confidenceSequence({ name: `alpha ${alpha}`, family: "sequence", tuning: "retuned" }, alpha),
);
/** Steps of the settings that are not whole numbers of bad outcomes. */
const NAIVE_STEP = 0.005;
const Z_STEP = 0.05;

const COLUMNS: readonly Setting[] = [
  "naiveRate",
  "argoBad",
  "flaggerBad",
  "windowBad",
  "tombstoneBad",
  "zScore",
  "sequenceAlpha",
  "window50Bad",
  "window150Bad",
  "window500Bad",
];

export function retuneExperiment(): Experiment {
  const stream = newStream(CONTRACT.outcomes);
  const words = new Uint32Array(CONTRACT.outcomes);
  return {
    id: "retune",
    seedBase: 1_000_000,
    full: 2_000,
    quick: 0,
    columns: COLUMNS,
    replicate: (seed) => {
      fillWords(words, seed, CONTRACT.outcomes);
      fillStream(stream, words, [{ through: CONTRACT.outcomes, rate: P0 }]);
      const intervals = sumsOf(stream, 60);
      return [
        highest(stream, 100, (n, bad) => bad / n),
        intervals[3] as number,
        intervals[4] as number,
        fullestWindow(stream, 100),
        sumsOf(stream, 100)[0] as number,
        highest(stream, 30, (n, bad) => (bad - n * P0) / Math.sqrt(n * P0 * (1 - P0))),
        // The strictest alpha that stops; 0 where none does.
        SEQUENCE_ALPHAS[SEQUENCES.findLastIndex((sequence) => Number.isFinite(sequence.stop(stream)))] ?? 0,
        fullestWindow(stream, 50),
        fullestWindow(stream, 150),
        fullestWindow(stream, 500),
      ];
    },
  };
}

/** The settings that the samples call for; the same shape as RETUNED. */
export function retunedSettings(samples: Samples): Record<Setting, number> {
  const of = (setting: Setting) => column(samples, setting);
  return {
    // These two stop above their setting, the others at it.
    naiveRate: loosest(of("naiveRate"), P0, NAIVE_STEP, (most, setting) => most > setting),
    zScore: loosest(of("zScore"), 2, Z_STEP, (most, setting) => most > setting),
    argoBad: loosestCount(of("argoBad")),
    flaggerBad: loosestCount(of("flaggerBad")),
    windowBad: loosestCount(of("windowBad")),
    tombstoneBad: loosestCount(of("tombstoneBad")),
    window50Bad: loosestCount(of("window50Bad")),
    window150Bad: loosestCount(of("window150Bad")),
    window500Bad: loosestCount(of("window500Bad")),
    sequenceAlpha:
      SEQUENCE_ALPHAS.find((alpha) =>
        // A sample is the strictest alpha that stopped; every looser one stopped as well.
        holdsContract(of("sequenceAlpha"), (strictest) => strictest > 0 && strictest <= alpha),
      ) ?? 0,
  };
}

function loosestCount(samples: Float64Array): number {
  return loosest(samples, 1, 1, (most, setting) => most >= setting);
}

function loosest(
  samples: Float64Array,
  start: number,
  step: number,
  stops: (most: number, setting: number) => boolean,
): number {
  for (let i = 0; ; i++) {
    // Rounded so that settings are the decimals that they are written as.
    const setting = Number((start + i * step).toFixed(4));
    if (holdsContract(samples, (most) => stops(most, setting))) return setting;
  }
}

function holdsContract(samples: Float64Array, stops: (sample: number) => boolean): boolean {
  let stopped = 0;
  for (const sample of samples) if (stops(sample)) stopped += 1;
  return stopped <= CONTRACT.falseRate * samples.length;
}

/** The highest value after any outcome from `minOutcomes` on; it rises only with a bad outcome. */
function highest(stream: Stream, minOutcomes: number, measure: (n: number, bad: number) => number): number {
  const { badAt, badAmong } = stream;
  let first = badAmong[minOutcomes] as number;
  let most = measure(minOutcomes, first);
  for (; first < stream.bad; first++) most = Math.max(most, measure(badAt[first] as number, first + 1));
  return most;
}

function fullestWindow(stream: Stream, size: number): number {
  const { badAmong, length } = stream;
  let most = 0;
  for (let n = size; n <= length; n++) most = Math.max(most, (badAmong[n] as number) - (badAmong[n - size] as number));
  return most;
}

/** Bad outcomes of each whole interval, the fullest first. */
function sumsOf(stream: Stream, size: number): number[] {
  const { badAmong, length } = stream;
  const sums: number[] = [];
  for (let n = size; n <= length; n += size) sums.push((badAmong[n] as number) - (badAmong[n - size] as number));
  return sums.sort((a, b) => b - a);
}
