/**
 * `npm run bench -- evaluate`: what an evaluation costs, through an OpenFeature client and beside it, with a real server and
 * a live lease, and what it costs its peers. All of it paired in one run.
 */
import { OpenFeature } from "@openfeature/server-sdk";
import { failuresOf, type Limit, type Scale } from "../limit.ts";
import type { Benchmark, Options, Report } from "../report.ts";
import { renderLimits, renderTable, type Table } from "../text.ts";
import { clientOf, readsFlag, readsSplit } from "./client.ts";
import type { Contestant, Product, Started } from "./contestant.ts";
import { FLAGBACK } from "./flagback.ts";
import { bareSplit, ConstantProvider, constantAlone } from "./floors.ts";
import { allLimits, type Groups } from "./limits.ts";
import { DOCUMENTS, type LoadCosts, loadCosts } from "./load.ts";
import { compare, type Effort, type Measurement } from "./measure.ts";
import { nativeSdk } from "./native-sdk.ts";
import { FLAGD } from "./peers/flagd.ts";
import { GROWTHBOOK } from "./peers/growthbook.ts";
import { IN_MEMORY } from "./peers/in-memory.ts";
import { LAUNCHDARKLY } from "./peers/launchdarkly.ts";
import { UNLEASH } from "./peers/unleash.ts";
import { ALIAS, FLAG } from "./traffic.ts";

const EFFORTS: Readonly<Record<Scale, Effort & { readonly loads: number }>> = {
  full: { rounds: 2_001, loads: 25 },
  quick: { rounds: 201, loads: 7 },
};
const LABEL =
  "CPU time of the process; ratios are medians of rounds that ask everybody in turn. Peers without metrics or events.";

interface EvaluateReport extends Report {
  readonly scale: Scale;
  readonly label: string;
  readonly groups: Groups;
  readonly load: LoadCosts;
  readonly limits: readonly Limit[];
  /** Peers and experiments that could not be run here, and why. */
  readonly notRun: readonly { readonly name: string; readonly why: string }[];
}

export const evaluate: Benchmark = {
  summary: "cost of an evaluation against peers and floors, of loading 10 000 flags and of a change; --quick",
  run,
};

async function run({ quick }: Options): Promise<EvaluateReport> {
  const scale: Scale = quick ? "quick" : "full";
  const effort = EFFORTS[scale];
  const load = await loadCosts(effort.loads);

  const ours = await FLAGBACK.start();
  const { started, notRun } = await startAll([
    IN_MEMORY,
    FLAGD,
    GROWTHBOOK,
    UNLEASH,
    LAUNCHDARKLY,
    { name: "the SDK with native async functions", start: nativeConstant },
  ]);
  try {
    const floor = await clientOf("constant", new ConstantProvider());
    const all = [ours, ...started];
    const of = (kind: "flags" | "splits" | "direct"): Contestant[] => all.flatMap((each) => each[kind] ?? []);
    const groups: Groups = {
      flags: await compare([readsFlag("constant provider", floor, FLAG), ...of("flags"), constantAlone()], effort),
      splits: await compare([readsSplit("constant provider", floor, ALIAS, 1), ...of("splits")], effort),
      direct: await compare([bareSplit(), ...of("direct")], effort),
    };
    const limits = allLimits(scale, groups, load);
    const text = [
      LABEL,
      ...[
        measured("A flag or kill switch, through the OpenFeature client", groups.flags),
        measured("A split, through the OpenFeature client", groups.splits),
        measured("Called directly", groups.direct),
        loaded(load),
      ].map(renderTable),
      ...notRun.map(({ name, why }) => `NOT RUN  ${name}: ${why}`),
      renderLimits(limits),
    ].join("\n\n");
    return { rows: [], failures: failuresOf(limits), text, scale, label: LABEL, groups, load, limits, notRun };
  } finally {
    for (const { stop } of [ours, ...started]) await stop();
    await OpenFeature.close();
  }
}

/** Starts what can be started here. */
async function startAll(products: readonly Product[]) {
  const started: Started[] = [];
  const notRun: { readonly name: string; readonly why: string }[] = [];
  for (const { name, start } of products) {
    try {
      started.push(await start());
    } catch (error) {
      notRun.push({ name, why: error instanceof Error ? error.message : String(error) });
    }
  }
  return { started, notRun };
}

/** The floor again, by an SDK whose async functions are the engine's: the difference is the published build. */
async function nativeConstant(): Promise<Started> {
  const native = await nativeSdk();
  await native.OpenFeature.setProviderAndWait(new ConstantProvider());
  const client = native.OpenFeature.getClient();
  return {
    flags: [readsFlag("constant provider, the SDK's async functions native", client, FLAG)],
    stop: () => native.OpenFeature.close(),
  };
}

function measured(title: string, measurements: readonly Measurement[]): Table {
  return {
    title,
    columns: ["through", "CPU", "calls per CPU second", "to the first row"],
    rows: measurements.map(({ name, through, cpuNs, callsPerCpuSecond, ratio }) => ({
      name,
      cells: [through, duration(cpuNs), callsPerCpuSecond.toPrecision(3), `${ratio.value.toPrecision(3)} x`],
    })),
  };
}

function loaded({ frameBytes, decodeMs, swapMs, firstReadsMs, deltaUs, deltaFrameUs }: LoadCosts): Table {
  const row = (name: string, { value }: { readonly value: number }, unit: "ms" | "us") => ({
    name,
    cells: [`${value.toPrecision(3)} ${unit}`],
  });
  return {
    title: `${DOCUMENTS} flags, aliases and kill switches`,
    columns: ["CPU"],
    rows: [
      row("taken over", swapMs, "ms"),
      row("a change of one of them", deltaUs, "us"),
      row(`before it: JSON and schema of the frame, ${(frameBytes / 1e6).toFixed(1)} MB`, decodeMs, "ms"),
      row("after it: the first read of each", firstReadsMs, "ms"),
      row("the change with JSON and schema", deltaFrameUs, "us"),
    ],
  };
}

function duration(ns: number): string {
  return ns < 1_000 ? `${ns.toPrecision(3)} ns` : `${(ns / 1_000).toPrecision(3)} us`;
}
