/**
 * From the outcome that completes the evidence leaving an agent to the last of 1 000 runtimes holding stable: the whole and
 * its four parts, beside the flip of a kill switch in the same run. The server is the real one, with its own brain and disk.
 */
import { FailingAgents } from "./load/failing-agents.ts";
import { Fleet } from "./load/fleet.ts";
import { type Spread, spreadOf } from "./load/statistics.ts";
import type { Benchmark, Options, Report, Row } from "./report.ts";

const RUNTIMES = 1_000;
const ROLLBACKS = 100;
const QUICK_ROLLBACKS = 20;
const WARM_UP = 5;
/** Of the flip's median. */
const MAX_P50_RATIO = 3;
const MAX_P99_RATIO = 8;
/** Unleash's Node SDK asks every 15 s, so a change waits for half of that on average, once somebody has made it. */
const UNLEASH_POLL_MS = 15_000;
const UNLEASH_MEASURED_MEAN_MS = 7_550;

/** Milliseconds. */
interface Taken {
  readonly whole: number;
  /** From the outcome's write in the agent until the server has counted it. */
  readonly ingest: number;
  /** Until the brain has its verdict and the command is ready. */
  readonly decide: number;
  /** The transaction. */
  readonly commit: number;
  /** From the commit until the last runtime holds it. */
  readonly converge: number;
}

const PARTS = ["ingest", "decide", "commit", "converge"] as const satisfies readonly (keyof Taken)[];

export const rollback: Benchmark = {
  summary: "from the last bad outcome to the last of 1 000 runtimes on stable",
  run,
};

async function run({ quick }: Options): Promise<Report> {
  const fleet = await Fleet.start();
  const n = WARM_UP + (quick ? QUICK_ROLLBACKS : ROLLBACKS);
  try {
    await register(fleet, n);
    await fleet.connect("runtimes", RUNTIMES);
    const agents = await FailingAgents.connect(fleet.port, fleet.runtimeToken);
    const taken: Taken[] = [];
    const flips: number[] = [];
    for (let i = 0; i < n; i++) {
      const rolledBack = await rollBack(fleet, agents, i);
      const flip = await fleet.flip();
      const { lastMs } = await fleet.arrivals("runtimes", flip.revision);
      if (i < WARM_UP) continue;
      taken.push(rolledBack);
      flips.push(lastMs - flip.postedMs);
    }
    agents.close();
    return reportOf(taken, spreadOf(flips));
  } finally {
    await fleet.close();
  }
}

/** An alias for each rollback, because a version that was rolled back is locked. */
async function register(fleet: Fleet, n: number): Promise<void> {
  const each = Array.from({ length: n }, (_, i) => namesOf(i));
  const versions = each.flatMap(({ stable, candidate }) => [stable, candidate]);
  const policy = { guardrails: [{ metric: "error_rate", max: 0.05 }], stages: [{ name: "half", percent: 50 }] };
  await fleet.post("/v1/apply", {
    versions: versions.map((id) => ({ id, kind: "prompt", payload: { prompt: id } })),
    aliases: Object.fromEntries(
      each.map(({ alias, stable, candidate }) => [
        alias,
        { stable, candidates: [{ id: candidate, weight: 0 }], policy },
      ]),
    ),
  });
}

function namesOf(i: number) {
  const alias = `agent-${i}`;
  return { alias, stable: `${alias}@1`, candidate: `${alias}@2` };
}

async function rollBack(fleet: Fleet, agents: FailingAgents, i: number): Promise<Taken> {
  const names = namesOf(i);
  const started = await fleet.post(`/v1/aliases/${names.alias}/rollout?wait=applied`, { candidate: names.candidate });
  const { revision, sentMs } = await agents.reportUntilChange(names, Number(started.revision));
  const { lastMs } = await fleet.arrivals("runtimes", revision);
  const committedMs = await fleet.committedMs(revision);
  const { timings, outcomesToDecision } = await incidentOf(fleet, names.alias);
  const { decideMs, commitMs } = timings;
  const leftMs = sentMs[outcomesToDecision - 1] ?? Number.NaN;
  return {
    whole: lastMs - leftMs,
    ingest: committedMs - commitMs - decideMs - leftMs,
    decide: decideMs,
    commit: commitMs,
    converge: lastMs - committedMs,
  };
}

interface IncidentTimes {
  readonly timings: { readonly decideMs: number; readonly commitMs: number };
  readonly outcomesToDecision: number;
}

async function incidentOf(fleet: Fleet, alias: string): Promise<IncidentTimes> {
  const { incidents } = JSON.parse(await fleet.get("/v1/incidents")) as {
    incidents: readonly (IncidentTimes & { readonly alias: string })[];
  };
  const incident = incidents.find((each) => each.alias === alias);
  if (incident === undefined) throw new Error(`${alias} was not rolled back`);
  return incident;
}

function reportOf(taken: readonly Taken[], flip: Spread): Report {
  const whole = spreadOf(taken.map((each) => each.whole));
  const rows: Row[] = [
    { what: "flip, POST to the last runtime, p50", value: flip.p50, unit: "ms" },
    { what: "rollback, outcome to the last runtime, p50", value: whole.p50, unit: "ms" },
    { what: "rollback, outcome to the last runtime, p99", value: whole.p99, unit: "ms" },
    ...PARTS.flatMap((part) => {
      const spread = spreadOf(taken.map((each) => each[part]));
      return [
        { what: `  ${part}, p50`, value: spread.p50, unit: "ms" },
        { what: `  ${part}, p99`, value: spread.p99, unit: "ms" },
      ];
    }),
    { what: "rollback's p50, of the flip's p50", value: whole.p50 / flip.p50, unit: "", limit: MAX_P50_RATIO },
    { what: "rollback's p99, of the flip's p50", value: whole.p99 / flip.p50, unit: "", limit: MAX_P99_RATIO },
    { what: "Unleash's polls of 15 s, mean wait, by arithmetic", value: UNLEASH_POLL_MS / 2, unit: "ms" },
    { what: "the same, as once measured", value: UNLEASH_MEASURED_MEAN_MS, unit: "ms" },
  ];
  const failures: string[] = [];
  const hold = (quantile: "p50" | "p99", limit: number) => {
    const ratio = whole[quantile] / flip.p50;
    if (!(ratio <= limit))
      failures.push(`the ${quantile} of a rollback is ${ratio.toFixed(2)} times a flip's p50, more than ${limit}`);
  };
  hold("p50", MAX_P50_RATIO);
  hold("p99", MAX_P99_RATIO);
  return { rows, failures };
}
