import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeExperiments } from "../../bench/src/detect/catalogue.ts";
import { column, replicate } from "../../bench/src/detect/experiment.ts";
import { goldenErrors } from "../../bench/src/detect/golden.ts";
import {
  HORIZONS,
  leaveOneOutExperiment,
  RUNTIME_COUNTS,
  SPREAD_RATES,
  WITHOUT_RULE,
  withRuntimes,
} from "../../bench/src/detect/leave-one-out.ts";
import { PEERS, type Peer } from "../../bench/src/detect/peers.ts";
import { oracleShiryaevRoberts, oracleSprt } from "../../bench/src/detect/product.ts";
import { atRate, delayExperiment, PRODUCT } from "../../bench/src/detect/rates.ts";
import { ABSOLUTE_PRODUCT, RELATIVE_PRODUCT, relativeExperiment, SCENARIOS } from "../../bench/src/detect/relative.ts";
import { type Stream, streamOf } from "../../bench/src/detect/streams.ts";
import { check, failuresOf } from "../../bench/src/limit.ts";
import { medianOf } from "../../bench/src/statistics.ts";

const golden = JSON.parse(readFileSync(new URL("../core/brain-golden.json", import.meta.url), "utf8")) as Record<
  string,
  number[]
>;

function peer(name: string): Peer {
  const found = PEERS.find((each) => each.name === name);
  if (found === undefined) throw new Error(`there is no peer ${name}`);
  return found;
}

/** `length` outcomes, of which those with these numbers, from 1, are bad. */
function stream(length: number, bad: readonly number[]): Stream {
  return streamOf(Array.from({ length }, (_, i) => (bad.includes(i + 1) ? 1 : 0)));
}

describe("the product on seeded streams", () => {
  // data/brain-golden.json: 1-based numbers of the stopping outcomes of seeds 2 000 000 to 2 000 019.
  test.each([
    [0, 0, 0.15, "stop p1=.15 nu=0 seeds 2000000..19"],
    [0.01, 5_000, 0.15, "stop p1=.15 nu=5000 pre=.01 seeds 2000000..19"],
    [0.04, 5_000, 0.3, "stop p1=.30 nu=5000 pre=.04 seeds 2000000..19"],
    [0.01, 5_000, 1, "stop p1=1 nu=5000 pre=.01 seeds 2000000..19"],
  ])("the harness stops where the reference stops: %s for %i, then %s", (pre, nu, rate, name) => {
    const experiment = delayExperiment(pre, nu);
    const samples = { columns: experiment.columns, replications: 20, values: replicate(experiment, 0, 20) };
    expect([...column(samples, atRate(rate, PRODUCT))]).toEqual(golden[name]);
  });

  test("every golden vector is met, or the benchmark fails", () => {
    for (const { what, error, limit } of goldenErrors()) expect(error, what).toBeLessThanOrEqual(limit);
  });
});

describe("peers decide as their documentation says", () => {
  test("Argo tolerates three failed intervals and stops at the end of the fourth", () => {
    // Four bad of 60 are 6.7 %, which is above 5 %; three are exactly 5 %, which is not.
    const four = [1, 2, 3, 4];
    const failing = [
      ...four,
      ...four.map((n) => n + 60),
      121,
      122,
      123,
      ...four.map((n) => n + 180),
      ...four.map((n) => n + 240),
    ];
    const argo = peer("Argo 60/interval, failureLimit 3 (docs)");
    expect(argo.stop(stream(300, failing))).toBe(300);
    expect(argo.stop(stream(299, failing))).toBe(Number.POSITIVE_INFINITY);
  });

  test("Flagger stops at the fifth failed check and forgives none in between", () => {
    const failing = [0, 60, 240, 300, 480].flatMap((start) => [1, 2, 3, 4].map((n) => n + start));
    expect(peer("Flagger 60/interval, threshold 5 (docs)").stop(stream(540, failing))).toBe(540);
  });

  test("resilience4j looks at the last 100 calls, once there are 100", () => {
    const window = peer("resilience4j window 100, >= 5 %");
    expect(window.stop(stream(150, [1, 2, 3, 4, 5]))).toBe(100);
    // Number 1 has left the window when number 101 comes: five of 2 to 101.
    expect(window.stop(stream(150, [1, 30, 40, 50, 101]))).toBe(Number.POSITIVE_INFINITY);
    expect(window.stop(stream(150, [2, 30, 40, 50, 101]))).toBe(101);
  });

  test("a naive rate of exactly 5 % is allowed, the next bad outcome is not", () => {
    // By hand: 5 of 100 are 5 %, 6 of 119 are 5.04 %.
    expect(peer("naive rate > 5 %, min 100").stop(stream(200, [1, 2, 3, 4, 5, 119]))).toBe(119);
    expect(peer("naive rate > 5 %, min 100").stop(stream(200, [1, 2, 3, 4, 5, 120]))).toBe(Number.POSITIVE_INFINITY);
  });

  test("a confidence sequence says nothing about failures alone, until a success gives it a variance", () => {
    const sequence = peer("GrowthBook-style sequence, alpha .05");
    const onlyBad = new Array<number>(500).fill(1);
    expect(sequence.stop(streamOf(onlyBad))).toBe(Number.POSITIVE_INFINITY);
    expect(sequence.stop(streamOf([...onlyBad, 0]))).toBe(501);
  });

  test("the oracles stop where their ratios cross", () => {
    // By hand, at a bad rate of 1: each failure multiplies by 20. 20^2 = 400 passes 100; 20 + 20^2 + ... passes 10^7 at 20^6.
    const bits = new Uint8Array(10).fill(1);
    expect(oracleSprt(bits, 10, 1)).toBe(2);
    expect(oracleShiryaevRoberts(bits, 10, 1)).toBe(6);
    expect(oracleSprt(Uint8Array.of(0, 1, 1, 1), 4, 1)).toBe(Number.POSITIVE_INFINITY);
  });
});

test("looking only after bad outcomes, or at intervals' ends, stops where looking after every outcome does", () => {
  const outcomes = fc
    .tuple(
      fc.integer({ min: 0, max: 2 ** 31 }),
      fc.constantFrom(0.01, 0.05, 0.06, 0.1, 0.3, 0.9),
      fc.integer({ min: 1, max: 1_500 }),
    )
    .map(([seed, rate, length]) => seededStream(seed, rate, length));
  fc.assert(
    fc.property(outcomes, (each) => {
      for (const { name, stop, plainStop } of PEERS) expect(stop(each), name).toBe(plainStop(each));
    }),
    { numRuns: 300 },
  );
});

/** A linear congruential generator is random enough here. */
function seededStream(seed: number, rate: number, length: number): Stream {
  let state = seed;
  const bits = Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 < rate ? 1 : 0;
  });
  return streamOf(bits);
}

describe("one runtime can't decide alone", () => {
  const samplesAt = (rate: (typeof SPREAD_RATES)[number]) => {
    const experiment = leaveOneOutExperiment(rate);
    return { columns: experiment.columns, replications: 20, values: replicate(experiment, 0, 20) };
  };

  test("the rule costs nothing where one runtime carries all runs", () => {
    const samples = samplesAt(0.3);
    expect(column(samples, withRuntimes(1))).toEqual(column(samples, WITHOUT_RULE));
  });

  test.each(SPREAD_RATES)("it only ever delays, and a candidate broken everywhere still stops: %s", (rate) => {
    const samples = samplesAt(rate);
    const without = column(samples, WITHOUT_RULE);
    for (const count of RUNTIME_COUNTS) {
      const stops = column(samples, withRuntimes(count));
      for (const [r, stop] of stops.entries()) expect(stop).toBeGreaterThanOrEqual(without[r] as number);
      expect(Math.max(...stops)).toBeLessThan(HORIZONS[rate]);
    }
  });
});

describe("candidate against stable", () => {
  const scenarioOf = (name: string) => SCENARIOS.find((each) => each.name === name)!;

  test("an incident that hits both arms stops the absolute test and not the relative one", () => {
    const experiment = relativeExperiment(scenarioOf("shared incident .01 to .30 at 2 000"), 0.5);
    const samples = { columns: experiment.columns, replications: 5, values: replicate(experiment, 0, 5) };
    expect(column(samples, RELATIVE_PRODUCT).every((stop) => stop === Number.POSITIVE_INFINITY)).toBe(true);
    expect(column(samples, ABSOLUTE_PRODUCT).every(Number.isFinite)).toBe(true);
  });

  test("a candidate that always fails is stopped by its first ten outcomes", () => {
    // BRAIN 3.6: 10/10 at a weight of 10 %.
    const experiment = relativeExperiment(scenarioOf("candidate 1.0, stable .01"), 0.1);
    const samples = { columns: experiment.columns, replications: 5, values: replicate(experiment, 0, 5) };
    expect([...column(samples, RELATIVE_PRODUCT)]).toEqual([10, 10, 10, 10, 10]);
  });
});

describe("the checker of limits", () => {
  const claim = { id: "X", what: "median delay", limit: 10, unit: "outcomes" };

  test("a limit that does not hold fails the run and says what was measured", () => {
    const broken = check("full", { ...claim, estimate: { value: 11, slack: 5 } });
    expect(broken.holds).toBe(false);
    expect(failuresOf([broken])).toEqual(["X median delay: 11 outcomes, at most 10 outcomes"]);
  });

  test("a quick run forgives its Monte Carlo error and no more", () => {
    expect(check("quick", { ...claim, estimate: { value: 11, slack: 1 } }).holds).toBe(true);
    expect(check("quick", { ...claim, estimate: { value: 11.1, slack: 1 } }).holds).toBe(false);
  });

  test("not a number never holds", () => {
    for (const relation of ["at most", "at least", "exactly"] as const) {
      expect(check("full", { ...claim, relation, estimate: { value: Number.NaN, slack: 0 } }).holds).toBe(false);
    }
  });

  test("a median of runs that never stopped holds no limit", () => {
    expect(
      check("quick", { ...claim, estimate: medianOf(new Float64Array(9).fill(Number.POSITIVE_INFINITY)) }).holds,
    ).toBe(false);
  });
});

test("one seed gives the same numbers in any part of any experiment", () => {
  const [first, second] = [makeExperiments(), makeExperiments()];
  for (const id of [
    "leave one out 0.3",
    "hazard a 0.15",
    "hazard b 0.1 0.3",
    "hazard e",
    "relative 0.5 candidate .10, stable .01",
  ]) {
    const index = first.findIndex((experiment) => experiment.id === id);
    const whole = replicate(first[index]!, 0, 3);
    expect([...replicate(second[index]!, 2, 3)]).toEqual([...whole.slice(-first[index]!.columns.length)]);
  }
});
