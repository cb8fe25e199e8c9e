import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { testFolder } from "../support/server.ts";
import { fakeIo } from "./fake-io.ts";

const RECORDED = fileURLToPath(new URL("../../server/assets/agent-runs.csv", import.meta.url));
const POLICY = "guardrails: [{metric: error_rate, max: 0.05}]\n";

test("three failures in a row are enough, and two are not", async () => {
  // data/brain-golden.json, threeFailures: 1.475844688, 3.954474752, 6.680333124 against ln(100) = 4.605.
  const stopped = await backtest("status\nfailure\nfailure\nfailure\nsuccess\n");
  expect(stopped).toMatchObject({ stoppedAt: 3, reason: "sla_breach", guardrail: "error_rate", outcomes: 4 });
  expect(stopped.logE).toBeCloseTo(6.680333124, 8);
  expect(await backtest("status\nfailure\nfailure\nsuccess\n")).toMatchObject({
    stoppedAt: null,
    reason: null,
    outcomes: 3,
  });
});

test("the recorded agent runs stop at a limit that they break, and not at one that they keep", async () => {
  const args = ["--outcomes", RECORDED];
  expect(await backtest(undefined, [...args, "--set", "error_rate=0.5"])).toMatchObject({
    guardrail: "error_rate",
    outcomes: 200,
  });
  expect(await backtest(undefined, [...args, "--set", "error_rate=0.65"])).toMatchObject({
    stoppedAt: null,
    outcomes: 200,
  });
});

test("stable's rows are told apart by their arm, or by their version, and never stop the candidate", async () => {
  const byArm = await backtest(`arm,status\n${"stable,failure\n".repeat(9)}candidate,success\n`);
  expect(byArm).toMatchObject({ stoppedAt: null, outcomes: 1 });
  const byVersion = `version,status\n${"a@1,failure\n".repeat(2)}${"a@2,failure\n".repeat(3)}`;
  expect(await backtest(byVersion, ["--candidate", "a@2"])).toMatchObject({ outcomes: 3 });
});

test("JSON lines with times are judged by the second of their start, whatever their order within it", async () => {
  const row = (second: number, status: string) =>
    JSON.stringify({ status, startedAt: `2026-01-01T00:00:${String(second).padStart(2, "0")}.000Z` });
  const good = Array.from({ length: 40 }, (_, index) => row(Math.floor(index / 10), "success"));
  const bad = Array.from({ length: 30 }, (_, index) => row(4 + Math.floor(index / 10), "failure"));
  const forward = await backtest([...good, ...bad].join("\n"), [], "runs.jsonl");
  expect(forward).toMatchObject({ reason: "sla_breach", outcomes: 70 });
  const shuffled = [...good.toReversed().toSorted(bySecond), ...bad].join("\n");
  expect(await backtest(shuffled, [], "runs.jsonl")).toEqual(forward);
});

test("a bad row is named by file, line and field, and skipped and counted on demand", async () => {
  const text = "status,duration_ms\nsuccess,5\nsuccess,-1\nodd,5\n";
  const refused = await cli(text, ["--json"]);
  expect(refused.status).toBe(1);
  expect(JSON.parse(refused.stderr)).toMatchObject({
    code: "outcome_invalid",
    detail: expect.stringMatching(/line 3: durationMs/),
  });
  const skipped = await cli(text, ["--skip-bad"]);
  expect(skipped.stdout).toContain("2 rows were no outcome and were skipped.");
});

test("a trace shows the evidence growing, and the last line is the answer", async () => {
  const { stdout } = await cli("status\nfailure\nfailure\nfailure\n", ["--json", "--trace"]);
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.map((line) => line.index)).toEqual([1, 2, 3, undefined]);
  expect(lines[1].logE).toBeCloseTo(3.954474752, 8);
  expect(lines[3].stoppedAt).toBe(3);
});

test("people are told what would have been prevented", async () => {
  const { stdout } = await cli(`status,writes\n${"failure,2\n".repeat(5)}`, []);
  expect(stdout).toContain("stopped the candidate after 3 of its 5 outcomes");
  expect(stdout).toContain("Prevented: 2 runs, 2 of them bad, with 4 writes.");
});

test.each([
  [["--set", "eror_rate=0.1"], /Did you mean error_rate/],
  [["--set", "error_rate=7"], /error_rate/],
  [["--outcomes", "no-such-file.csv"], /can't be read/],
])("%j is refused with the way out", async (args, message) => {
  const { status, stderr } = await cli("status\nfailure\n", args);
  expect(status).toBeGreaterThan(0);
  expect(stderr).toMatch(message);
});

function bySecond(a: string, b: string): number {
  return JSON.parse(a).startedAt.localeCompare(JSON.parse(b).startedAt);
}

async function backtest(text: string | undefined, args: readonly string[] = [], name = "runs.csv") {
  const { stdout, stderr } = await cli(text, ["--json", ...args], name);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout);
}

async function cli(text: string | undefined, args: readonly string[], name = "runs.csv") {
  const folder = await testFolder();
  const policy = join(folder, "policy.yaml");
  await writeFile(policy, POLICY);
  const outcomes = join(folder, name);
  if (text !== undefined) await writeFile(outcomes, text);
  const io = fakeIo({ files: { [policy]: POLICY } });
  const file = args.includes("--outcomes") ? [] : ["--outcomes", outcomes];
  const status = await runCli(["backtest", "--policy", policy, ...file, ...args], io);
  return { status, ...io.written };
}
