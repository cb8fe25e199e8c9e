import { expect, test } from "vitest";
import type { Contestant } from "../../bench/src/evaluate/contestant.ts";
import { VERSION, WRITES_ALLOWED } from "../../bench/src/evaluate/flagback.ts";
import { bareSplit, constantAlone } from "../../bench/src/evaluate/floors.ts";
import { allLimits } from "../../bench/src/evaluate/limits.ts";
import { compare, type Measurement } from "../../bench/src/evaluate/measure.ts";
import { FRACTIONAL } from "../../bench/src/evaluate/peers/flagd.ts";
import { GROWTHBOOK_SPLIT } from "../../bench/src/evaluate/peers/growthbook.ts";

const NO_ERROR = { value: 1, slack: 0 };
const LOAD = {
  frameBytes: 1,
  decodeMs: NO_ERROR,
  swapMs: NO_ERROR,
  firstReadsMs: NO_ERROR,
  deltaUs: NO_ERROR,
  deltaFrameUs: NO_ERROR,
};

const measured = (name: string, ratio: number, through: Measurement["through"] = "direct"): Measurement => ({
  name,
  through,
  cpuNs: 1,
  callsPerCpuSecond: 1,
  ratio: { value: ratio, slack: 0 },
});

const broken = (of: { client?: number; version?: number; fractional?: number; growthbook?: number | null }) => {
  const { client = 1, version = 1, fractional = 10, growthbook = 20 } = of;
  const direct = [measured(WRITES_ALLOWED, 1), measured(VERSION, version), measured(FRACTIONAL, fractional)];
  if (growthbook !== null) direct.push(measured(GROWTHBOOK_SPLIT, growthbook));
  const flags = [measured("flagback, static flag", client, "client"), measured("InMemoryProvider", 9, "client")];
  const limits = allLimits("full", { flags, splits: [], direct }, LOAD);
  return limits.filter(({ holds }) => !holds).map(({ id }) => id);
};

test("each limit of an evaluation fails just beyond its number, and peers are no claim of ours", () => {
  expect(broken({ client: 1.05, version: 2, fractional: 8, growthbook: 14 })).toEqual([]);
  expect(broken({ client: 1.051 })).toEqual(["S1"]);
  expect(broken({ version: 2.01 })).toEqual(["S2"]);
  expect(broken({ version: 2, fractional: 7.9 })).toEqual(["S3"]);
  expect(broken({ version: 2, growthbook: 13 })).toEqual(["S4"]);
  expect(broken({ growthbook: null })).toEqual([]);
});

test("a contestant that answers what it should not is no result", async () => {
  const wrong: Contestant = { ...bareSplit(), run: (calls) => calls };
  await expect(compare([wrong], { rounds: 1 })).rejects.toThrow("what");
});

test("floors are measured in the rounds of their contestants, and are once themselves", async () => {
  const [floor, promised] = await compare([bareSplit(), constantAlone()], { rounds: 3 });
  expect(floor?.ratio.value).toBe(1);
  expect(floor?.cpuNs).toBeGreaterThan(0);
  expect(promised?.ratio.value).toBeGreaterThan(0);
});
