import { readFile } from "node:fs/promises";
import { ConfigFile, desiredState } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { bar, dashboardLine, grouped } from "../../server/src/demo/dashboard.ts";
import { openDisplay } from "../../server/src/demo/display.ts";
import { resolutionsSince } from "../../server/src/demo/messages.ts";
import { assetPath, parseRecordedRuns, readRecordedRuns } from "../../server/src/demo/recorded-runs.ts";
import { type RollbackResult, unproven } from "../../server/src/demo/result.ts";
import { ALIAS, CANDIDATE, playRun, STABLE, seededOrder } from "../../server/src/demo/scenario.ts";
import { Tally } from "../../server/src/demo/tally.ts";

const runs = await readRecordedRuns();
const RUNTIMES = [0, 1, 2];
const CYCLES = 50;

/** Every row `CYCLES` times on each runtime. */
function playAll(seed: number, version: string, isCandidateBad: boolean) {
  const order = seededOrder(seed, runs.length);
  return RUNTIMES.flatMap((runtime) =>
    Array.from({ length: CYCLES * runs.length }, (_, n) =>
      playRun({ seed, isCandidateBad }, runs, order, { runtime, n, version }),
    ),
  );
}

const failureRate = (played: readonly { isSuccess: boolean }[]) =>
  played.filter((run) => !run.isSuccess).length / played.length;

describe("the recorded runs", () => {
  test("are those that data/README.md describes: 200 runs, 84 succeed, 118 write, 87 of those failed", () => {
    expect(runs).toHaveLength(200);
    expect(runs.filter((run) => run.isSuccess)).toHaveLength(84);
    const writing = runs.filter((run) => run.writes > 0);
    expect([writing.length, writing.filter((run) => !run.isSuccess).length]).toEqual([118, 87]);
  });

  test("are refused with the line where a line is not what the columns say", () => {
    const head = "task_id,trial,success,assistant_turns,tool_calls,tool_errors,writes,escalated_to_human";
    expect(() => parseRecordedRuns(`${head}\n0,0,1,2,3,0,0,0\n0,1,1,x,3,0,0,0\n`)).toThrow("line 3");
    expect(() => parseRecordedRuns(`${head}\n0,0,1\n`)).toThrow("line 2");
    expect(() => parseRecordedRuns("a,b\n")).toThrow("begins with a,b");
  });
});

describe("the scenario", () => {
  test("orders all rows, the same way for the same seed, and another way for another", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), (seed) => {
        const order = seededOrder(seed, runs.length);
        expect([...order].sort((a, b) => a - b)).toEqual(runs.map((_, row) => row));
        expect(seededOrder(seed, runs.length)).toEqual(order);
        expect(seededOrder(seed + 1, runs.length)).not.toEqual(order);
      }),
      { numRuns: 50 },
    );
  });

  test("replays the recorded mix on stable, and on both versions when healthy", () => {
    // 116 of 200 recorded runs fail.
    expect(failureRate(playAll(7, STABLE, true))).toBeCloseTo(0.58, 9);
    expect(failureRate(playAll(7, CANDIDATE, false))).toBeCloseTo(0.58, 9);
  });

  test.each([1, 2, 3, 4, 5])("spoils the candidate by at most 20 points, with seed %i", (seed) => {
    const rate = failureRate(playAll(seed, CANDIDATE, true));
    // 0.58 + 0.45 * 0.42 = 0.769, drawn 12 600 times among 30 000 runs: a deviation of 0.002.
    expect(rate).toBeGreaterThan(0.76);
    expect(rate).toBeLessThan(0.78);
  });

  test("never reports more tool errors than tool calls, and keeps the latency guardrail's limit at the p95", () => {
    const played = playAll(3, CANDIDATE, true);
    expect(played.every((run) => run.toolErrors <= run.toolCalls)).toBe(true);
    const slow = played.filter((run) => run.durationMs > 1_800).length / played.length;
    expect(slow).toBeLessThan(0.02);
  });
});

test("the demo's configuration says what the API accepts, and its thresholds leave room above the recording", async () => {
  const file = ConfigFile.parse(parse(await readFile(assetPath("demo.yaml"), "utf8")));
  const { state, problems } = desiredState(file);
  expect(problems).toEqual([]);
  const [alias] = state.aliases;
  expect(alias).toMatchObject({ name: ALIAS, stable: STABLE, candidates: [CANDIDATE] });
  expect(alias?.policy?.outcomeTimeout).toBe("5s");
  const limits = new Map(alias?.policy?.guardrails.map(({ metric, max }) => [metric, max]));
  const calling = runs.filter((run) => run.toolCalls > 0);
  const toolFailure = calling.reduce((sum, run) => sum + run.toolErrors / run.toolCalls, 0) / calling.length;
  expect(toolFailure).toBeCloseTo(0.04, 3);
  expect(limits.get("tool_failure_rate")).toBeGreaterThan(toolFailure);
  expect(limits.get("error_rate")).toBeGreaterThan(0.58);
  expect(limits.get("latency_p95_ms")).toBe(1_800);
});

describe("the proof", () => {
  const proven: RollbackResult = {
    rolledBack: true,
    reason: "sla_breach",
    candidateWeight: 0,
    locked: true,
    writesDisabled: true,
    runtimes: 3,
    acknowledged: 3,
    servedAfterAck: 0,
    decideMs: 1,
    commitMs: 1,
    convergeMs: 1,
    outcomesToDecision: 1,
  };

  test("holds only when nothing is missing", () => {
    expect(unproven(proven, 3)).toEqual([]);
  });

  test.each([
    { candidateWeight: 0.05 },
    { locked: false },
    { writesDisabled: false },
    { runtimes: 2, acknowledged: 2 },
    { acknowledged: 2 },
    { servedAfterAck: 1 },
  ])("does not hold with %o", (change) => {
    expect(unproven({ ...proven, ...change }, 3)).toHaveLength(1);
  });

  test("counts a resolution where it began, also when a new revision arrives before it is there", () => {
    const tally = new Tally();
    const before = tally.resolving();
    tally.applied(5);
    before(CANDIDATE);
    tally.resolving()(STABLE);
    expect(tally.progress().resolutions).toEqual([
      { revision: 0, all: 1, candidate: 1 },
      { revision: 5, all: 1, candidate: 0 },
    ]);
  });

  test("counts what was resolved at the rollback's revision and later", () => {
    const progress = {
      runs: 0,
      writesDone: 0,
      writesRefused: 0,
      resolutions: [
        { revision: 4, all: 900, candidate: 45 },
        { revision: 5, all: 500, candidate: 0 },
        { revision: 6, all: 20, candidate: 1 },
      ],
    };
    expect(resolutionsSince(progress, 5)).toEqual({ all: 520, candidate: 1 });
  });
});

describe("the view", () => {
  test("is redrawn in place in a terminal, below the lines that stay", () => {
    const sink = {
      isTty: true,
      columns: 40,
      text: "",
      write(text: string) {
        sink.text += text;
      },
    };
    const display = openDisplay(sink, { NO_COLOR: "1" });
    const runtimes = [{ name: "runtime-1", state: "running" as const, runs: 7, writesRefused: 0 }];
    display.show({ elapsedMs: 0, phase: "p".repeat(80), runtimes });
    // A blank line, the phase cut to the terminal's width, a blank line, a heading, one runtime.
    expect(sink.text).toBe(`\n  0.0 s  ${"p".repeat(30)}\n\nruntimes\n  runtime-1        7 runs\n`);
    const view = sink.text;
    sink.text = "";
    display.say("news");
    expect(sink.text).toBe(`\u001b[5A\r\u001b[0Jnews\n${view}`);
    display.settle();
    sink.text = "";
    display.say("the end");
    expect(sink.text).toBe("the end\n");
  });

  test("a bar is empty below nothing and full from the threshold on", () => {
    expect([bar(-0.4, 4), bar(0.5, 4), bar(7, 4)]).toEqual(["░░░░", "██░░", "████"]);
  });

  test("groups thousands", () => {
    expect([grouped(7), grouped(1_234), grouped(1_234_567)]).toEqual(["7", "1 234", "1 234 567"]);
  });

  test("fits on one line where there is no terminal", () => {
    const rollout = {
      alias: ALIAS,
      state: "exposing",
      stage: "validation",
      candidate: CANDIDATE,
      target: STABLE,
      weight: 5_000,
      rolloutNumber: 1,
      hold: null,
      explanation: null,
      heldBackBy: null,
      evidence: [],
      logE: 2.4,
      peakLogE: 2.6,
      openDecision: null,
      threshold: 4.8,
      traffic: [
        { version: STABLE, assigned: 1_000, settled: 1_000, failures: 580 },
        { version: CANDIDATE, assigned: 52, settled: 50, failures: 40 },
      ],
      feedback: [],
    };
    expect(dashboardLine({ elapsedMs: 3_210, phase: "rollout", rollout, runtimes: [] })).toBe(
      "  3.2 s  rollout: 2.3.3 1 000 runs, 58.0 % failed | 2.4.0 50 runs, 80.0 % failed | evidence ██████░░░░░░ 2.40 of 4.80",
    );
  });
});
