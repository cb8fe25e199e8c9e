/** `flagback backtest`: what the brain would have done on recorded outcomes. Needs no server. */
import { explain } from "@flagback/core";
import { FlagbackError, type Policy } from "@flagback/schemas";
import { type Command, InvalidArgumentError } from "commander";
import type { BacktestReport, TracePoint } from "../../backtest/backtest.ts";
import type { Io } from "../io.ts";

/** Progress is said so often, on standard error. */
const PROGRESS_INTERVAL_MS = 1_000;
/** A trace is thinned to about so many lines. */
const TRACE_LINES = 200;

interface BacktestOptions {
  readonly policy: string;
  readonly outcomes: string;
  readonly candidate?: string;
  readonly alpha?: number;
  readonly set: ReadonlyMap<string, number>;
  readonly skipBad?: boolean;
  readonly trace?: boolean;
  readonly json?: boolean;
}

export function addBacktest(program: Command, io: Io): void {
  program
    .command("backtest")
    .summary("what the brain would have done on recorded outcomes")
    .description(
      "Reads recorded outcomes (CSV with a header, or JSON lines) and says where the policy would have stopped the candidate.\n" +
        "Columns are the outcome's fields, in camelCase or snake_case; success (0 or 1) may stand for status. A column arm, or\n" +
        "--candidate VERSION, tells the candidate's rows from stable's; without either all rows are the candidate's. Without\n" +
        "startedAt each row is a tick of its own.",
    )
    .requiredOption("--policy <file>", "a policy, or a configuration file with one (YAML)")
    .requiredOption("--outcomes <file>", "the recording: .csv, or .jsonl")
    .option("--candidate <version>", "the version to judge; rows of others are stable's")
    .option("--alpha <number>", "try another probability of a false rollback", fraction)
    .option("--set <guardrail=value>", "try another threshold (repeat for several)", collect, new Map<string, number>())
    .option("--skip-bad", "go on after a row that is no outcome, and count it")
    .option("--trace", "print the evidence as it grows")
    .option("--json", "answer one JSON value, the last line of standard output")
    .action(async (options: BacktestOptions) => {
      const { policyOf } = await import("../../backtest/policy-file.ts");
      const policy = policyOf(await io.read(options.policy), { alpha: options.alpha, thresholds: options.set });
      const { report, skipped, ignored } = await run(io, options, policy);
      io.stdout.write(options.json ? `${JSON.stringify(lastLine(report))}\n` : told(report, policy, skipped, ignored));
    });
}

async function run(io: Io, options: BacktestOptions, policy: Policy) {
  const { Backtest } = await import("../../backtest/backtest.ts");
  const { openRows } = await import("../../backtest/rows.ts");
  const source = await openRows(options.outcomes, { alias: "recording", version: options.candidate ?? "candidate" });
  const onTrace = options.trace ? tracer(io, options.json === true) : undefined;
  const backtest = new Backtest(policy, { candidate: options.candidate, onTrace });
  const begun = performance.now();
  let saidAt = begun;
  let rows = 0;
  let skipped = 0;
  for await (const row of source.rows) {
    rows += 1;
    if ("outcome" in row) backtest.add(row);
    else if (options.skipBad) skipped += 1;
    else throw badRow(options.outcomes, row.line, row.problem);
    const now = performance.now();
    if (now - saidAt < PROGRESS_INTERVAL_MS) continue;
    saidAt = now;
    const percent = source.totalBytes === 0 ? 100 : Math.min(100, (100 * row.bytes) / source.totalBytes);
    io.stderr.write(
      `${percent.toFixed(0)} % read, ${rows} rows, ${Math.round((1_000 * rows) / (now - begun))} rows/s\n`,
    );
  }
  return { report: backtest.finish(), skipped, ignored: [...source.ignoredColumns] };
}

/** The last line with `--json`; index and count are of the candidate's outcomes. */
function lastLine(report: BacktestReport) {
  const { stoppedAt, verdict, outcomes } = report;
  return {
    stoppedAt,
    reason: reasonOf(report),
    guardrail: stoppedAt === null ? null : verdict.leading,
    logE: verdict.logE,
    outcomes,
  };
}

function reasonOf({ verdict }: BacktestReport): string | null {
  return verdict.kind === "allow" ? null : verdict.reason;
}

function told(report: BacktestReport, policy: Policy, skipped: number, ignored: readonly string[]): string {
  const { stoppedAt, verdict, outcomes, stableOutcomes, prevented, late } = report;
  const lines = [
    stoppedAt === null
      ? `The brain would have let it go on: ${outcomes} outcomes of the candidate, ${verdict.kind}.`
      : `The brain would have stopped the candidate after ${stoppedAt} of its ${outcomes} outcomes (${reasonOf(report)}, ${verdict.leading}).`,
    explain(verdict),
    "",
    ...verdict.guardrails.map(
      (each) =>
        `  ${each.guardrail.padEnd(28)} ${each.rate.toFixed(3)} of ${each.p0.toFixed(3)} allowed in ${each.n} runs, log e ${each.logE.toFixed(2)}`,
    ),
    "",
    `Evidence ${verdict.logE.toFixed(2)} of ${verdict.threshold.toFixed(2)} needed (alpha ${policy.alpha}); it peaked at ${verdict.peakLogE.toFixed(2)}.`,
    ...(stableOutcomes > 0 ? [`${stableOutcomes} outcomes of stable were compared with.`] : []),
    ...(stoppedAt === null
      ? []
      : [`Prevented: ${prevented.runs} runs, ${prevented.badRuns} of them bad, with ${prevented.writes} writes.`]),
    ...(late > 0 ? [`${late} rows came later than the policy's outcomeTimeout and were not judged.`] : []),
    ...(skipped > 0 ? [`${skipped} rows were no outcome and were skipped.`] : []),
    ...(ignored.length > 0 ? [`Columns that say nothing here: ${ignored.join(", ")}.`] : []),
  ];
  return `${lines.join("\n")}\n`;
}

/** Prints each point at first, then ever fewer, so that a long recording fits a screen or two. */
function tracer(io: Io, asJson: boolean): (point: TracePoint) => void {
  let nextIndex = 1;
  return (point) => {
    if (point.index < nextIndex) return;
    nextIndex = point.index + Math.max(1, Math.floor((10 * point.index) / TRACE_LINES));
    io.stdout.write(
      asJson
        ? `${JSON.stringify(point)}\n`
        : `${String(point.index).padStart(9)}  log e ${point.logE.toFixed(2)} of ${point.threshold.toFixed(2)}\n`,
    );
  };
}

function badRow(file: string, line: number, problem: string): FlagbackError {
  return new FlagbackError({
    code: "outcome_invalid",
    message: `${file}, line ${line}: ${problem}.`,
    hint: "Correct the row, or go on without such rows with --skip-bad.",
  });
}

function fraction(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError("Give a number between 0 and 1.");
  return value;
}

function collect(text: string, before: ReadonlyMap<string, number>): Map<string, number> {
  const [, guardrail, value] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (guardrail === undefined || !Number.isFinite(Number(value)))
    throw new InvalidArgumentError("Write it as error_rate=0.1.");
  return new Map(before).set(guardrail, Number(value));
}
