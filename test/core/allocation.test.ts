import {
  bucketOf,
  murmur3,
  versionAt,
  weightOf,
  weightsOf,
  wholeAllocation,
  withWeight,
  withWeights,
} from "@flagback/core";
import { MAX_SLOTS, type Slot, TOTAL_WEIGHT } from "@flagback/schemas";
import { FlagdCore } from "@openfeature/flagd-core";
import fc from "fast-check";
import { expect, test } from "vitest";

test("the hash is murmur3_x86_32 with seed 0 over UTF-8", () => {
  // Vectors published with the algorithm's implementations (SMHasher, Wikipedia's talk of it, Guava's tests).
  expect(murmur3("")).toBe(0);
  expect(murmur3("hello")).toBe(0x248bfa47);
  expect(murmur3("hello, world")).toBe(0x149bbb7f);
  expect(murmur3("The quick brown fox jumps over the lazy dog")).toBe(0x2e4ff723);
});

test("a flagd client that is fed our weights assigns like us", () => {
  const weights = { a: 99_000, b: 1_000 };
  const flagd = new FlagdCore();
  flagd.setConfigurations(
    JSON.stringify({
      flags: {
        agent: {
          state: "ENABLED",
          variants: { a: "a", b: "b" },
          defaultVariant: "a",
          targeting: { fractional: [{ cat: ["agent", { var: "targetingKey" }] }, ["a", weights.a], ["b", weights.b]] },
        },
      },
    }),
  );
  const logger = { error() {}, warn() {}, info() {}, debug() {} };
  const allocation = [
    { version: "a", weight: weights.a },
    { version: "b", weight: weights.b },
  ];
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(..."abcdefghijklmnop0123456789-") }), (targetingKey) => {
      const theirs = flagd.resolveStringEvaluation("agent", "", { targetingKey }, logger).value;
      expect(versionAt(allocation, bucketOf("agent", targetingKey))).toBe(theirs);
    }),
    { numRuns: 2_000 },
  );
});

test("growth takes stable's buckets from the lowest, shrinking gives back the latest taken", () => {
  const grown = withWeight(wholeAllocation("s"), "s", "c", 5_000);
  expect(grown).toEqual([slot("c", 5_000), slot("s", 95_000)]);
  expect(withWeight(grown, "s", "c", 1_000)).toEqual([slot("c", 1_000), slot("s", 99_000)]);
  expect(withWeight(grown, "s", "c", 0)).toEqual(wholeAllocation("s"));
});

test("a rollback gives exactly the candidate's buckets to stable and moves nobody else", () => {
  const two = withWeight(withWeight(wholeAllocation("s"), "s", "a", 10_000), "s", "b", 20_000);
  const after = withWeight(two, "s", "a", 0);
  for (let bucket = 0; bucket < TOTAL_WEIGHT; bucket += 250) {
    const before = versionAt(two, bucket);
    expect(versionAt(after, bucket)).toBe(before === "a" ? "s" : before);
  }
});

test("an empty allocation answers no version", () => {
  expect(versionAt([], 0)).toBeUndefined();
});

test("more weight than stable has left is refused, and so is stable itself", () => {
  const full = withWeight(wholeAllocation("s"), "s", "a", 90_000);
  expect(() => withWeight(full, "s", "b", 10_001)).toThrow(/10000 of weight left/);
  expect(() => withWeight(full, "s", "s", 10)).toThrow(/stable/);
});

test("traffic moved equals the weight changed, the sum stays whole and slots stay few, whatever is done", () => {
  const step = fc.record({ version: fc.constantFrom("a", "b", "c", "d"), weight: fc.integer({ min: 0, max: 30_000 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let slots: Slot[] = wholeAllocation("s");
      for (const { version, weight } of steps) {
        const change = Math.abs(weight - weightOf(slots, version));
        if (weight - weightOf(slots, version) > weightOf(slots, "s")) continue;
        let next: Slot[];
        try {
          next = withWeight(slots, "s", version, weight);
        } catch (error) {
          expect(String(error)).toContain(`${MAX_SLOTS} is the limit`);
          continue;
        }
        expect(moved(slots, next)).toBe(change);
        expect(next.reduce((sum, each) => sum + each.weight, 0)).toBe(TOTAL_WEIGHT);
        expect(next.length).toBeLessThanOrEqual(MAX_SLOTS);
        expect(weightOf(next, version)).toBe(weight);
        slots = next;
      }
    }),
  );
});

test("several weights at once move no more than their changes need", () => {
  fc.assert(
    fc.property(weightsArbitrary(), weightsArbitrary(), (first, second) => {
      const before = withWeights(wholeAllocation("s"), "s", first);
      const after = withWeights(before, "s", second);
      expect(weightsOf(after)).toEqual(withStable(second));
      const names: readonly string[] = ["a", "b", "c"];
      const gained = names.map((version) => Math.max(0, (second.get(version) ?? 0) - (first.get(version) ?? 0)));
      const lost = names.map((version) => Math.max(0, (first.get(version) ?? 0) - (second.get(version) ?? 0)));
      expect(moved(before, after)).toBeLessThanOrEqual(sum(gained) + sum(lost));
    }),
  );
});

function slot(version: string, weight: number): Slot {
  return { version, weight };
}

/** Buckets, of 100 000, whose version differs. */
function moved(before: readonly Slot[], after: readonly Slot[]): number {
  const edges = [...new Set([...edgesOf(before), ...edgesOf(after)])].sort((a, b) => a - b);
  let total = 0;
  for (let index = 0; index + 1 < edges.length; index++) {
    const [from, to] = [edges[index] as number, edges[index + 1] as number];
    if (versionAt(before, from) !== versionAt(after, from)) total += to - from;
  }
  return total;
}

function edgesOf(slots: readonly Slot[]): number[] {
  const edges = [0];
  for (const { weight } of slots) edges.push((edges.at(-1) as number) + weight);
  return edges;
}

function weightsArbitrary(): fc.Arbitrary<Map<string, number>> {
  return fc.tuple(fc.nat(33_000), fc.nat(33_000), fc.nat(33_000)).map(
    ([a, b, c]) =>
      new Map([
        ["a", a],
        ["b", b],
        ["c", c],
      ]),
  );
}

function withStable(weights: ReadonlyMap<string, number>): Map<string, number> {
  const present = new Map([...weights].filter(([, weight]) => weight > 0));
  return present.set("s", TOTAL_WEIGHT - sum([...present.values()]));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
