/**
 * `npm run bench -- detect`: BRAIN's tables and limits by the product's code, beside models of other tools' rules.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { decide } from "../decide.ts";
import { failuresOf, type Limit, type Scale } from "../limit.ts";
import type { Benchmark, Options, Report } from "../report.ts";
import { ERRORS_FORGIVEN } from "../statistics.ts";
import { renderLimits, renderTable, type Table } from "../text.ts";
import { makeExperiments } from "./catalogue.ts";
import type { Experiment } from "./experiment.ts";
import { goldenErrors } from "./golden.ts";
import { allLimits } from "./limits.ts";
import { allPlots } from "./plots.ts";
import { runExperiments } from "./pool.ts";
import { allTables } from "./tables.ts";

const LABEL =
  "Peers are models of their documented decision rules, not runs of their products. EQ rows are retuned to the same contract.";
const STREAMS = "xoshiro128** seeded by splitmix32(seed); an outcome is bad iff u32 < floor(p 2^32)";
const PROGRESS_MS = 5_000;

interface DetectReport extends Report {
  readonly scale: Scale;
  readonly label: string;
  readonly note: string;
  readonly streams: string;
  readonly workers: number;
  readonly seconds: number;
  readonly seeds: readonly { readonly experiment: string; readonly from: number; readonly replications: number }[];
  readonly limits: readonly Limit[];
  readonly tables: readonly Table[];
}

export const detect: Benchmark = {
  summary: "delay and false rollbacks against other tools' rules, and every limit; --quick, --plots DIR, --workers N",
  run,
};

async function run({ quick, plots, workers }: Options): Promise<DetectReport> {
  const startedMs = Date.now();
  const scale: Scale = quick ? "quick" : "full";
  const experiments = makeExperiments();
  const replicationsOf = (experiment: Experiment) => experiment[scale];
  // Timing first, while nothing else of ours runs.
  const performance = await decide.run({ quick, workers });
  const golden = goldenErrors();
  const results = await runExperiments(experiments, replicationsOf, workers, progress(startedMs));

  if (plots !== undefined) {
    mkdirSync(plots, { recursive: true });
    for (const [name, svg] of Object.entries(allPlots(results))) writeFileSync(join(plots, name), svg);
  }
  const limits = allLimits(scale, results, golden, performance);
  const tables = allTables(results);
  const seeds = experiments
    .map((each) => ({ experiment: each.id, from: each.seedBase, replications: replicationsOf(each) }))
    .filter(({ replications }) => replications > 0);
  const seconds = (Date.now() - startedMs) / 1_000;
  const note = scaleNote(scale);
  const text = [
    `${LABEL}\nStreams: ${STREAMS}\n${note} ${workers} workers, ${seconds.toFixed(0)} s.`,
    seedText(seeds),
    ...tables.map(renderTable),
    renderLimits(limits),
  ].join("\n\n");
  const failures = failuresOf(limits);
  return {
    rows: [],
    failures,
    text,
    scale,
    label: LABEL,
    note,
    streams: STREAMS,
    workers,
    seconds,
    seeds,
    limits,
    tables,
  };
}

function seedText(seeds: DetectReport["seeds"]): string {
  const lines = seeds.map(({ experiment, from, replications }) => {
    return `  ${experiment.padEnd(54)} ${from}..${from + replications - 1}`;
  });
  return ["Seeds:", ...lines].join("\n");
}

/** A line to stderr every few seconds. */
function progress(startedMs: number): (done: number, all: number, id: string) => void {
  let lastMs = startedMs;
  return (done, all, id) => {
    const nowMs = Date.now();
    if (nowMs - lastMs < PROGRESS_MS && done < all) return;
    lastMs = nowMs;
    console.error(`detect: ${done} of ${all} parts, ${((nowMs - startedMs) / 1_000).toFixed(0)} s, ${id}`);
  };
}

/** What a run says about how its limits were taken. */
function scaleNote(scale: Scale): string {
  return scale === "full"
    ? "Limits are BRAIN's, taken as they are."
    : `Fewer replications: limits are widened by ${ERRORS_FORGIVEN} Monte Carlo standard errors of this run, those of P five times.`;
}
