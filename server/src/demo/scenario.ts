/**
 * What each run of the demo does, decided by the seed alone: which recorded run it replays, how long it takes, and
 * whether the bad version spoils it. The same seed, runtime and number always play the same run.
 */
import type { RecordedRun } from "./recorded-runs.ts";

export const ALIAS = "support-agent";
export const STABLE = "support-agent@2.3.3";
export const CANDIDATE = "support-agent@2.4.0";
export const SWITCH = "writes_disabled";

/** Real waits are this many times shorter than the latencies that the runs report. */
export const TIME_COMPRESSION = 40;

/** The bad version turns this part of the recorded successes into failures: 0.45 x 42 % = 19 points more failure. */
const SPOILED_SUCCESSES = 0.45;
/** This part of the spoiled runs fails by a tool call that went wrong. */
const SPOILED_BY_A_TOOL = 0.5;
/** Rows between the places where two runtimes begin, so that they don't replay in step. */
const RUNTIME_OFFSET = 67;

/** What a draw is for. Each purpose has its own sequence. */
const PURPOSE = { shuffle: 0, latency: 1, spoil: 2, tool: 3 } as const;

export interface Scenario {
  readonly seed: number;
  /** True when 2.4.0 is worse than what was recorded. */
  readonly isCandidateBad: boolean;
}

export interface PlayedRun {
  readonly isSuccess: boolean;
  /** Synthesised, because the recording has no times. The demo itself waits only a part of it. */
  readonly durationMs: number;
  readonly toolCalls: number;
  readonly toolErrors: number;
  readonly writes: number;
}

/** Row numbers from 0 in the order in which they are replayed. */
export function seededOrder(seed: number, rows: number): readonly number[] {
  return Array.from({ length: rows }, (_, row) => ({ row, key: draw(seed, PURPOSE.shuffle, 0, row) }))
    .sort((one, other) => one.key - other.key)
    .map(({ row }) => row);
}

/** The `n`th run of a runtime, if it is served `version`. */
export function playRun(
  scenario: Scenario,
  runs: readonly RecordedRun[],
  order: readonly number[],
  at: { readonly runtime: number; readonly n: number; readonly version: string },
): PlayedRun {
  const { seed, isCandidateBad } = scenario;
  const { runtime, n, version } = at;
  const row = order[(runtime * RUNTIME_OFFSET + n) % order.length];
  const recorded = row === undefined ? undefined : runs[row];
  if (recorded === undefined) throw new RangeError("there are no recorded runs");
  const { isSuccess, assistantTurns, toolCalls, toolErrors, writes } = recorded;
  const isSpoiled =
    isCandidateBad && version === CANDIDATE && isSuccess && draw(seed, PURPOSE.spoil, runtime, n) < SPOILED_SUCCESSES;
  const isSpoiledByTool =
    isSpoiled && toolErrors < toolCalls && draw(seed, PURPOSE.tool, runtime, n) < SPOILED_BY_A_TOOL;
  return {
    isSuccess: isSuccess && !isSpoiled,
    durationMs: synthesisedMs(assistantTurns, draw(seed, PURPOSE.latency, runtime, n)),
    toolCalls,
    toolErrors: toolErrors + (isSpoiledByTool ? 1 : 0),
    writes,
  };
}

/** Time to answer: a fixed part and 25 to 55 ms for each assistant turn. */
function synthesisedMs(assistantTurns: number, chance: number): number {
  return Math.round(300 + assistantTurns * (25 + 30 * chance));
}

/** A number in [0, 1) that depends on the four values alone: murmur3's finaliser over their running mix. */
function draw(seed: number, purpose: number, runtime: number, n: number): number {
  let hash = 0x9e3779b9;
  for (const value of [seed, purpose, runtime, n]) hash = finalise((Math.imul(hash, 31) + value) | 0);
  return (hash >>> 0) / 2 ** 32;
}

function finalise(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
