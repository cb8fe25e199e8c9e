/**
 * Outcomes for each second of the server's CPU: validated, counted, judged against three guardrails and durable, against a
 * `ws` server that parses the same frames and keeps nothing. Then how long an acknowledgement takes at a fixed rate.
 */
import { ALIAS } from "./load/bench-agent.ts";
import { Fleet, Floor } from "./load/fleet.ts";
import { type Pause, totalMs, watchPauses } from "./load/pause-watch.ts";
import { Peer } from "./load/peer.ts";
import type { ReporterSkills } from "./load/reporters-child.ts";
import { quantile, type Spread } from "./load/statistics.ts";
import type { Usage } from "./load/usage.ts";
import type { Benchmark, Options, Report, Row } from "./report.ts";

/** Outcomes in a batch, and how many outcomes for each CPU-second are the least. */
const BATCHES = [{ batch: 1, least: 250_000 }, { batch: 50 }, { batch: 100, least: 450_000 }, { batch: 500 }] as const;
const QUICK_BATCHES = BATCHES.filter(({ batch }) => batch === 1 || batch === 100);
/** Few connections with many batches on their way, so that the server is busy and not its sockets. A provider has four. */
const REPORTERS = 16;
const OUTCOMES_IN_FLIGHT = 16_384;
const MIN_WINDOW = 4;

const WARM_UP_LOOK_MS = 100;
const WARM_UP_TIMEOUT_MS = 120_000;

const PACED_PER_SECOND = 10_000;
const PACED_REPORTERS = 1_000;
const MAX_PACED_P99_MS = 20;
/** Parts of the time: of more in which the reporters sent nothing, or the machine stood still, a p99 says too little. */
const MAX_SKIPPED_SHARE = 0.01;
const MAX_PAUSED_SHARE = 0.05;

interface Rates {
  readonly batch: number;
  readonly least?: number;
  /** Outcomes for each second of the process's CPU; of the server, and of `ws` with an acknowledgement of each or of many. */
  readonly flagback: number;
  readonly each: number;
  readonly cumulative: number;
}

interface Paced {
  readonly waited: Spread;
  /** The same without the time for which the machine stood still. */
  readonly ranFor: Spread;
  readonly pauses: readonly Pause[];
  /** Part of the time in which the reporters sent nothing because they were late, although the machine ran. */
  readonly skippedShare: number;
  /** Part of the time for which the machine stood still. */
  readonly pausedShare: number;
  readonly perSecond: number;
  /** Part of one core. */
  readonly cpu: number;
  readonly acknowledged: number;
}

export const ingest: Benchmark = { summary: "outcomes for each second of the server's CPU, durable and judged", run };

async function run({ quick }: Options): Promise<Report> {
  const fleet = await Fleet.start();
  const floor = await Floor.start(fleet.clients);
  const reporters = await Peer.start<ReporterSkills>("./reporters-child.ts");
  try {
    await fleet.startRollout();
    const pace = quick
      ? { warmUpCpuMs: 1_500, rounds: 3, roundMs: 400 }
      : { warmUpCpuMs: 5_000, rounds: 7, roundMs: 2_000 };
    let acknowledged = 0;
    const rates: Rates[] = [];
    for (const each of quick ? QUICK_BATCHES : BATCHES) {
      const measured = (port: number, peer: Measurable) =>
        saturate(reporters, { port, token: fleet.runtimeToken, batch: each.batch }, peer, pace);
      await floor.peer.ask("acknowledge", "each");
      const ackEach = await measured(floor.wsPort, floor.peer);
      await floor.peer.ask("acknowledge", "cumulative");
      const cumulative = await measured(floor.wsPort, floor.peer);
      const flagback = await measured(fleet.port, fleet.server);
      acknowledged += flagback.acknowledged;
      rates.push({ ...each, flagback: flagback.rate, each: ackEach.rate, cumulative: cumulative.rate });
    }
    const pacedMs = quick ? 10_000 : 20_000;
    const token = fleet.runtimeToken;
    const pacedFloor = await steady(reporters, { port: floor.wsPort, token }, floor.peer, pacedMs);
    const paced = await steady(reporters, { port: fleet.port, token }, fleet.server, pacedMs);
    acknowledged += paced.acknowledged;
    return reportOf(rates, { flagback: paced, floor: pacedFloor }, { acknowledged, counted: await countedBy(fleet) });
  } finally {
    await reporters.close();
    await floor.close();
    await fleet.close();
  }
}

interface Measurable {
  ask(name: "usage", input: { collect: boolean }): Promise<Usage>;
}

/**
 * The median over the rounds, once what runs is compiled: after so much CPU of its own, however long a busy machine takes to
 * give it that. And all that was acknowledged.
 */
async function saturate(
  reporters: Peer<ReporterSkills>,
  target: { readonly port: number; readonly token: string; readonly batch: number },
  peer: Measurable,
  { warmUpCpuMs, rounds, roundMs }: { readonly warmUpCpuMs: number; readonly rounds: number; readonly roundMs: number },
): Promise<{ readonly rate: number; readonly acknowledged: number }> {
  const window = Math.max(MIN_WINDOW, Math.ceil(OUTCOMES_IN_FLIGHT / REPORTERS / target.batch));
  await reporters.ask("start", { ...target, reporters: REPORTERS, window });
  const rates: number[] = [];
  const { cpuMs: coldMs } = await peer.ask("usage", { collect: false });
  const deadlineMs = performance.now() + WARM_UP_TIMEOUT_MS;
  while ((await peer.ask("usage", { collect: false })).cpuMs - coldMs < warmUpCpuMs) {
    if (performance.now() > deadlineMs) throw new Error("the server has nothing to do");
    await new Promise((resolve) => setTimeout(resolve, WARM_UP_LOOK_MS));
  }
  for (let round = 0; round < rounds; round++) {
    const before = await peer.ask("usage", { collect: false });
    await reporters.ask("reset");
    await new Promise((resolve) => setTimeout(resolve, roundMs));
    const acknowledged = await reporters.ask("acknowledged");
    const after = await peer.ask("usage", { collect: false });
    rates.push((acknowledged * 1_000) / (after.cpuMs - before.cpuMs));
  }
  const { total } = await reporters.ask("stop");
  rates.sort((a, b) => a - b);
  return { rate: quantile(rates, 0.5), acknowledged: total.everAcknowledged };
}

/** A fixed rate over many connections, one outcome in a batch. */
async function steady(
  reporters: Peer<ReporterSkills>,
  target: { readonly port: number; readonly token: string },
  peer: Measurable,
  ms: number,
): Promise<Paced> {
  await reporters.ask("start", {
    ...target,
    reporters: PACED_REPORTERS,
    batch: 1,
    perSecond: PACED_PER_SECOND,
  });
  await new Promise((resolve) => setTimeout(resolve, ms / 4));
  const before = await peer.ask("usage", { collect: false });
  await reporters.ask("reset");
  const stopWatching = watchPauses();
  await new Promise((resolve) => setTimeout(resolve, ms));
  const idlePauses = stopWatching();
  const { waited, ranFor, pauses, skippedMs, perSecond } = await reporters.ask("counted", { idlePauses });
  const after = await peer.ask("usage", { collect: false });
  const { total } = await reporters.ask("stop");
  if (waited === null || ranFor === null) throw new Error("nothing was acknowledged");
  return {
    waited,
    ranFor,
    pauses,
    skippedShare: (skippedMs - totalMs(pauses)) / ms,
    pausedShare: totalMs(pauses) / ms,
    perSecond,
    cpu: (after.cpuMs - before.cpuMs) / ms,
    acknowledged: total.everAcknowledged,
  };
}

/** What the server says it has settled, over both versions, and what it says it accepted. */
export async function countedBy(fleet: Fleet): Promise<{ readonly settled: number; readonly accepted: number }> {
  const { traffic } = JSON.parse(await fleet.get(`/v1/aliases/${ALIAS}/rollout`)) as {
    traffic: readonly { readonly settled: number }[];
  };
  const metrics = await fleet.get("/metrics");
  const accepted = /^flagback_outcome_reports_total\{result="accepted"\} (\d+)$/m.exec(metrics)?.[1];
  return { settled: traffic.reduce((sum, { settled }) => sum + settled, 0), accepted: Number(accepted) };
}

function reportOf(
  rates: readonly Rates[],
  paced: { readonly flagback: Paced; readonly floor: Paced },
  {
    acknowledged,
    counted,
  }: { readonly acknowledged: number; readonly counted: { readonly settled: number; readonly accepted: number } },
): Report {
  const rows: Row[] = rates.flatMap(({ batch, flagback, each, cumulative }) => [
    { what: `batches of ${batch}: ws + JSON.parse, an ack each`, value: each, unit: "/CPU-s" },
    { what: `batches of ${batch}: ws + JSON.parse, cumulative acks`, value: cumulative, unit: "/CPU-s" },
    {
      what: `batches of ${batch}: flagback, durable and judged`,
      value: flagback,
      unit: "/CPU-s",
      ratioToFloor: flagback / cumulative,
    },
  ]);
  const at = `at ${PACED_PER_SECOND}/s from ${PACED_REPORTERS}`;
  const { waited, ranFor, pauses, pausedShare, skippedShare, perSecond, cpu } = paced.flagback;
  rows.push(
    { what: `${at}: outcomes acknowledged`, value: perSecond, unit: "/s" },
    { what: `${at}: acknowledged after, p50`, value: waited.p50, unit: "ms" },
    { what: `${at}: acknowledged after, p99`, value: ranFor.p99, unit: "ms", limit: MAX_PACED_P99_MS },
    { what: `${at}: the same with the time for which the machine stood still`, value: waited.p99, unit: "ms" },
    { what: `${at}: the machine stood still`, value: pauses.length, unit: "times" },
    { what: `${at}: the machine stood still, of the time`, value: 100 * pausedShare, unit: "%" },
    { what: `${at}: the reporters were late and sent nothing, of the time`, value: 100 * skippedShare, unit: "%" },
    { what: `${at}: the server's CPU`, value: cpu, unit: "cores" },
    { what: `${at}: ws + JSON.parse, every 5 ms, p50`, value: paced.floor.waited.p50, unit: "ms" },
    { what: `${at}: ws + JSON.parse, every 5 ms, p99`, value: paced.floor.ranFor.p99, unit: "ms" },
    {
      what: `${at}: ws + JSON.parse, every 5 ms, the same with the time for which the machine stood still`,
      value: paced.floor.waited.p99,
      unit: "ms",
    },
    { what: "outcomes acknowledged in all", value: acknowledged, unit: "" },
  );
  const failures: string[] = [];
  for (const { batch, least, flagback } of rates) {
    if (least !== undefined && !(flagback >= least))
      failures.push(
        `in batches of ${batch}, ${flagback.toFixed(0)} outcomes are counted in a CPU-second, less than ${least}`,
      );
  }
  if (!(ranFor.p99 <= MAX_PACED_P99_MS))
    failures.push(`an acknowledgement's p99 is ${ranFor.p99.toFixed(1)} ms, more than ${MAX_PACED_P99_MS}`);
  if (!(pausedShare <= MAX_PAUSED_SHARE))
    failures.push(`the machine stood still for ${(100 * pausedShare).toFixed(1)} % of the time: measure again`);
  if (!(skippedShare <= MAX_SKIPPED_SHARE))
    failures.push(`the reporters were late for ${(100 * skippedShare).toFixed(1)} % of the time: measure again`);
  if (!(perSecond >= 0.95 * PACED_PER_SECOND))
    failures.push(`only ${perSecond.toFixed(0)} outcomes a second were acknowledged, not ${PACED_PER_SECOND}`);
  if (counted.settled !== acknowledged || counted.accepted !== acknowledged)
    failures.push(
      `${acknowledged} outcomes were acknowledged, but ${counted.settled} are counted and ${counted.accepted} accepted`,
    );
  return { rows, failures };
}
