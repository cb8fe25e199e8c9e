import { readFileSync } from "node:fs";
import {
  addStageLump,
  type Bins,
  logThreshold,
  newDetector,
  spendingSchedule,
  stepDetector,
  stepDetectorByFractions,
} from "@flagback/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nextExponential, nextIsBad, type Rng, xoshiro128 } from "../../bench/src/rng.ts";

// Every number of the golden file was computed from BRAIN.md's formulas by an independent implementation.
const golden = JSON.parse(readFileSync(new URL("./brain-golden.json", import.meta.url), "utf8")) as Record<
  string,
  unknown
>;
const THRESHOLD = logThreshold(0.01, 1);
type Steps = [stops: boolean, logE: number][];

function expectSteps(p0: number, ticks: [n: number, k: number][], expected: Steps): void {
  const detector = newDetector(p0);
  const steps = ticks.map(([n, k]) => stepDetector(detector, n, k));
  expect(steps).toHaveLength(expected.length);
  steps.forEach((logE, i) => {
    // The file rounds to nine decimals.
    expect(Math.abs(logE - expected[i]![1])).toBeLessThanOrEqual(1e-9);
    expect(logE >= THRESHOLD).toBe(expected[i]![0]);
  });
}

/** 1-based index of the outcome that stops the stream; `null` where none of the first 20 000 does. */
function stopIndex(seed: number, probabilityAt: (index: number) => number): number | null {
  const rng = xoshiro128(seed);
  const detector = newDetector(0.05);
  for (let i = 0; i < 20_000; i++) {
    if (stepDetector(detector, 1, nextIsBad(rng, probabilityAt(i)) ? 1 : 0) >= THRESHOLD) return i + 1;
  }
  return null;
}

describe("golden vectors", () => {
  test("three failures in a row are enough, two are not", () => {
    expectSteps(
      0.05,
      [
        [1, 1],
        [1, 1],
        [1, 1],
      ],
      golden.threeFailures as Steps,
    );
  });

  test("nine good outcomes and then only bad ones stop at the fifth bad one", () => {
    const ticks = [...Array<[number, number]>(9).fill([1, 0]), ...Array<[number, number]>(5).fill([1, 1])];
    expectSteps(0.05, ticks, golden.seq_0000000001x3 as Steps);
  });

  test("batches are judged by their counts", () => {
    expectSteps(
      0.03,
      [
        [500, 10],
        [200, 9],
        [200, 25],
        [200, 40],
      ],
      golden.batch_p03 as Steps,
    );
  });

  test("the alternatives are a fixed distance from the threshold in log odds", () => {
    const expected = golden.alternatives_05 as number[];
    newDetector(0.05).grid.alternatives.forEach((q, j) => {
      expect(q).toBeCloseTo(expected[j]!, 12);
    });
  });

  test("the spending schedule places 0.7 at the start and never more than 1", () => {
    const expected = golden.W as number[];
    [0, 1, 1_000, 5_000, 100_000].forEach((n, i) => {
      expect(spendingSchedule(n)).toBeCloseTo(expected[i]!, 12);
    });
    expect(spendingSchedule(1e15)).toBeLessThanOrEqual(1);
  });

  test.each([
    ["stop p1=.15 nu=0 seeds 2000000..19", () => 0.15],
    ["stop p1=.15 nu=5000 pre=.01 seeds 2000000..19", (i: number) => (i < 5_000 ? 0.01 : 0.15)],
    ["stop p1=.30 nu=5000 pre=.04 seeds 2000000..19", (i: number) => (i < 5_000 ? 0.04 : 0.3)],
    ["stop p1=1 nu=5000 pre=.01 seeds 2000000..19", (i: number) => (i < 5_000 ? 0.01 : 1)],
  ] as [string, (i: number) => number][])(
    "seeded streams stop where the reference stops: %s",
    (name, probabilityAt) => {
      const stops = Array.from({ length: 20 }, (_, i) => stopIndex(2_000_000 + i, probabilityAt));
      expect(stops).toEqual(golden[name]);
    },
  );

  test.each([0.01, 0.03, 0.05, 0.2])(
    "the smallest number of failures in one batch that stops, at a threshold of %s",
    (p0) => {
      const table = golden[`min_k_single_batch_p0=${p0}`] as Record<string, number | null>;
      for (const [size, expected] of Object.entries(table)) {
        const n = Number(size);
        const counts = Array.from({ length: n + 1 }, (_, k) => k);
        const smallest = counts.find((k) => stepDetector(newDetector(p0), n, k) >= THRESHOLD) ?? null;
        expect([n, smallest]).toEqual([n, expected]);
      }
    },
  );
});

describe("the detector", () => {
  test("a later stage raises the evidence by its lump and the threshold by its part of C", () => {
    const detector = newDetector(0.05);
    addStageLump(detector.logS);
    // Before any outcome E is the weight placed: 0.7 + 0.05. C of two stages is 1.05.
    expect(stepDetector(detector, 0, 0)).toBeCloseTo(Math.log(0.75), 12);
    expect(logThreshold(0.01, 2)).toBeCloseTo(Math.log(105), 12);
  });

  test("evidence is a number for any counts and any possible threshold", () => {
    const count = fc.integer({ min: 0, max: 1_000_000 });
    const p0 = fc.double({ min: 0, max: 1, minExcluded: true, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(p0, fc.array(fc.tuple(count, count), { minLength: 1, maxLength: 20 }), (rate, ticks) => {
        const detector = newDetector(rate);
        for (const [good, bad] of ticks) expect(Number.isFinite(stepDetector(detector, good + bad, bad))).toBe(true);
        expect(detector.logS.every(Number.isFinite)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test("a tick of a million failures, and one of a million successes after it, lose no evidence", () => {
    // By hand: each bet is worth k ln(q/p0) + (n-k) ln((1-q)/(1-p0)). The one that leads after the failures is not the one
    // that is left after the successes, so none may be rounded away beside another.
    const detector = newDetector(0.05);
    const { bad, good } = detector.grid;
    const bets = bad.map((a, j) => 1e6 * a + Math.log((j === 0 ? 0.1 : 0.18) * 0.7));
    expect(stepDetector(detector, 1e6, 1e6) / Math.max(...bets)).toBeCloseTo(1, 12);
    const after = bets.map((bet, j) => bet + 1e6 * good[j]!);
    expect(after.indexOf(Math.max(...after))).not.toBe(bets.indexOf(Math.max(...bets)));
    expect(stepDetector(detector, 1e6, 0) / Math.max(...after)).toBeCloseTo(1, 6);
  });

  test("its state is at most 128 bytes", () => {
    // Six logarithms here; n, k, assigned and logE beside them make ten doubles.
    expect((newDetector(0.05).logS.length + 4) * 8).toBeLessThanOrEqual(128);
  });
});

describe("fractions", () => {
  const millionths = fc.array(fc.integer({ min: 0, max: 1_000_000 }), { minLength: 1, maxLength: 60 });

  test("the chord over ten bins never exceeds the exact evidence", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 0.9, noNaN: true }), millionths, (p0, values) => {
        const chord = stepDetectorByFractions(newDetector(p0), binsOf(values));
        expect(chord).toBeLessThanOrEqual(exactLogE(p0, values) + 1e-9);
      }),
    );
  });

  test("fractions of only 0 and 1 are judged exactly as counts", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 0, max: 500 }), (good, bad) => {
        const bins = binsOf([...Array<number>(good).fill(0), ...Array<number>(bad).fill(1_000_000)]);
        const byCounts = stepDetector(newDetector(0.03), good + bad, bad);
        expect(stepDetectorByFractions(newDetector(0.03), bins)).toBeCloseTo(byCounts, 9);
      }),
    );
  });

  test("the chord is close to exact where fractions lie between the edges", () => {
    // By hand: at 0.55 the chord between 0.5 and 0.6 misses ln L by its curvature only.
    const values = Array<number>(20).fill(550_000);
    const chord = stepDetectorByFractions(newDetector(0.2), binsOf(values));
    expect(exactLogE(0.2, values) - chord).toBeLessThan(0.1);
  });
});

describe("quality", () => {
  // BRAIN 3.7 (f): quality is Beta with mean .75 and deviation .15 where .8 is asked for; the median delay is 84 outcomes
  // by the exact bet, 97 by the chord over ten bins and 1 040 by the plain chord.
  const seeds = Array.from({ length: 101 }, (_, i) => 7_000_000 + i);

  function medianDelay(stopsAfter: (values: readonly number[]) => number): number {
    const delays = seeds.map((seed) => {
      const rng = xoshiro128(seed);
      return stopsAfter(Array.from({ length: 2_000 }, () => Math.floor((1 - nextBeta(rng, 0.75, 0.15)) * 1e6)));
    });
    return delays.sort((a, b) => a - b)[50]!;
  }

  test("a mean a little below its limit is found about as fast as by the exact bet", () => {
    const chord = medianDelay((values) => {
      const detector = newDetector(0.2);
      return values.findIndex((value) => stepDetectorByFractions(detector, binsOf([value])) >= THRESHOLD) + 1;
    });
    const plain = medianDelay((values) => {
      const detector = newDetector(0.2);
      return values.findIndex((value) => stepDetector(detector, 1, value / 1e6) >= THRESHOLD) + 1;
    });
    expect(chord).toBeGreaterThan(70);
    expect(chord).toBeLessThanOrEqual(120);
    expect(plain).toBeGreaterThan(8 * chord);
  });
});

/** A Beta variable of that mean and deviation, as a ratio of Gammas (Marsaglia and Tsang, 2000). */
function nextBeta(rng: Rng, mean: number, deviation: number): number {
  const size = (mean * (1 - mean)) / deviation ** 2 - 1;
  const a = nextGamma(rng, mean * size);
  return a / (a + nextGamma(rng, (1 - mean) * size));
}

function nextGamma(rng: Rng, shape: number): number {
  const d = shape - 1 / 3;
  for (;;) {
    const radius = Math.sqrt(2 * nextExponential(rng, 1));
    const normal = radius * Math.cos((2 * Math.PI * rng()) / 2 ** 32);
    const v = (1 + normal / Math.sqrt(9 * d)) ** 3;
    if (v > 0 && -nextExponential(rng, 1) < normal ** 2 / 2 + d - d * v + d * Math.log(v)) return d * v;
  }
}

function binsOf(values: readonly number[]): Bins {
  const bins: Bins = { n: Array<number>(10).fill(0), sum: Array<number>(10).fill(0) };
  for (const value of values) {
    const bin = Math.min(9, Math.floor(value / 100_000));
    bins.n[bin]! += 1;
    bins.sum[bin]! += value;
  }
  return bins;
}

/** BRAIN 2.2 as written: L_j(x) = 1 + lam_j (x - p0), one factor for each outcome, from the start. */
function exactLogE(p0: number, values: readonly number[]): number {
  const prior = [0.1, 0.18, 0.18, 0.18, 0.18, 0.18];
  const terms = newDetector(p0).grid.alternatives.map((q, j) => {
    const lambda = (q - p0) / (p0 * (1 - p0));
    return values.reduce((sum, x) => sum + Math.log1p(lambda * (x / 1e6 - p0)), Math.log(prior[j]! * 0.7));
  });
  const max = Math.max(...terms);
  return max + Math.log(terms.reduce((sum, term) => sum + Math.exp(term - max), 0));
}
