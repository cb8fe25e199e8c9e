/**
 * Long enough for leaks to show: outcomes at a steady rate, a flip every second, and runtimes that come and go. What the
 * server keeps must not grow, its event loop must not be late, and every outcome that it acknowledged must be counted once.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { countedBy } from "./ingest.ts";
import { Fleet } from "./load/fleet.ts";
import { Peer } from "./load/peer.ts";
import type { ReporterSkills } from "./load/reporters-child.ts";
import type { Usage } from "./load/usage.ts";
import type { Benchmark, Options, Report, Row } from "./report.ts";

const OUTCOMES_PER_SECOND = 2_000;
const REPORTERS = 100;
const RUNTIMES = 200;
/** Of the runtimes, so many go and come back in every round. */
const RECONNECTING = 20;
const ROUND_MS = 400;
/** Revisions whose acknowledgements the server keeps, and some more: what is bounded is full before growth is measured. */
const FILLING_FLIPS = 260;
const MINUTE_MS = 60_000;
/** Samples of resident memory are taken after a collection, because garbage is no leak, and seldom, because that one stops the server. */
const SAMPLE_EVERY_ROUNDS = 25;
const MAX_SLOPE_MB = 0.5;
/** Of the heap alone, which says more: it moves less from run to run. */
const MAX_HEAP_SLOPE_MB = 0.25;
const MAX_P99_LOOP_DELAY_MS = 50;
/** How long what ends by itself, such as the leases of those who went, may take to end. */
const SETTLE_MS = 30_000;

interface Sample {
  readonly atMs: number;
  readonly usage: Usage;
  /** Before the collection, in bytes. */
  readonly uncollectedBytes: number;
}

export const soak: Benchmark = {
  summary: "ten minutes of outcomes, flips and reconnects: what grows, what is late",
  run,
};

async function run({ quick }: Options): Promise<Report> {
  const warmUpMs = quick ? 20_000 : 2 * MINUTE_MS;
  const wholeMs = quick ? MINUTE_MS : 10 * MINUTE_MS;
  const fleet = await Fleet.start();
  const reporters = await Peer.start<ReporterSkills>("./reporters-child.ts");
  try {
    await fleet.startRollout();
    await fleet.connect("runtimes", RUNTIMES);
    for (let i = 0; i < FILLING_FLIPS; i++) await fleet.flip();
    const before = await fleet.server.ask("usage", { collect: true });
    await reporters.ask("start", {
      port: fleet.port,
      token: fleet.runtimeToken,
      reporters: REPORTERS,
      perSecond: OUTCOMES_PER_SECOND,
      batch: 1,
    });
    const warmedUp = await rounds(fleet, warmUpMs);
    await fleet.server.ask("usage", { collect: true });
    const { samples, flips, reconnects } = await rounds(fleet, wholeMs - warmUpMs);
    const { p99LoopDelayMs } = await fleet.server.ask("usage", { collect: false });
    const { perSecond, total } = await reporters.ask("stop");
    const counted = await countedBy(fleet);
    const after = await settled(fleet, before.handles);
    return reportOf({
      // A minute is too short to tell growth from what fills up: counts stay apart by second for an `outcomeTimeout`.
      isGrowthJudged: !quick,
      samples,
      flips: warmedUp.flips + flips,
      reconnects: warmedUp.reconnects + reconnects,
      perSecond,
      acknowledged: total.everAcknowledged,
      counted,
      p99LoopDelayMs,
      before,
      after,
    });
  } finally {
    await reporters.close();
    await fleet.close();
  }
}

/** Flips, and lets some runtimes come and go, in every round. */
async function rounds(fleet: Fleet, ms: number) {
  const samples: Sample[] = [];
  const begunMs = performance.now();
  let flips = 0;
  for (let atMs = 0; atMs < ms; atMs = performance.now() - begunMs) {
    const { revision } = await fleet.flip();
    await fleet.arrivals("runtimes", revision);
    await fleet.connect("passing", RECONNECTING);
    await fleet.clients.ask("disconnect", { group: "passing" });
    if (flips % SAMPLE_EVERY_ROUNDS === 0) {
      const { rssBytes: uncollectedBytes } = await fleet.server.ask("usage", { collect: false, goOn: true });
      const usage = await fleet.server.ask("usage", { collect: true, goOn: true });
      samples.push({ atMs, usage, uncollectedBytes });
    }
    flips += 1;
    await sleep(Math.max(0, begunMs + flips * ROUND_MS - performance.now()));
  }
  return { samples, flips, reconnects: flips * RECONNECTING };
}

/** What is used once as many handles are open as before, or when the time is over. */
async function settled(fleet: Fleet, handles: number): Promise<Usage> {
  const deadlineMs = performance.now() + SETTLE_MS;
  for (;;) {
    const usage = await fleet.server.ask("usage", { collect: true });
    if (usage.handles === handles || performance.now() > deadlineMs) return usage;
    await sleep(100);
  }
}

interface Soaked {
  readonly isGrowthJudged: boolean;
  readonly samples: readonly Sample[];
  readonly flips: number;
  readonly reconnects: number;
  readonly perSecond: number;
  readonly acknowledged: number;
  readonly counted: { readonly settled: number; readonly accepted: number };
  readonly p99LoopDelayMs: number;
  readonly before: Usage;
  readonly after: Usage;
}

function reportOf(soaked: Soaked): Report {
  const {
    isGrowthJudged,
    samples,
    flips,
    reconnects,
    perSecond,
    acknowledged,
    counted,
    p99LoopDelayMs: p99Ms,
    before,
    after,
  } = soaked;
  const growthMb = (bytesOf: (sample: Sample) => number, from = 0) =>
    slopeOf(samples.slice(from).map((sample) => [sample.atMs / MINUTE_MS, bytesOf(sample) / 1e6] as const));
  const slopeMb = growthMb(({ usage }) => usage.rssBytes);
  const heapSlopeMb = growthMb(({ usage }) => usage.heapBytes);
  // The first follows the collection at the end of the warm-up.
  const uncollectedSlopeMb = growthMb(({ uncollectedBytes }) => uncollectedBytes, 1);
  const rows: Row[] = [
    { what: "outcomes acknowledged, a second", value: perSecond, unit: "/s" },
    { what: "outcomes acknowledged in all", value: acknowledged, unit: "" },
    { what: "flips", value: flips, unit: "" },
    { what: "reconnects", value: reconnects, unit: "" },
    {
      what: "resident memory after a collection, growth a minute",
      value: slopeMb,
      unit: "MB",
      ...(isGrowthJudged ? { limit: MAX_SLOPE_MB } : {}),
    },
    { what: "the same before it", value: uncollectedSlopeMb, unit: "MB" },
    {
      what: "heap after a collection, growth a minute",
      value: heapSlopeMb,
      unit: "MB",
      ...(isGrowthJudged ? { limit: MAX_HEAP_SLOPE_MB } : {}),
    },
    { what: "resident memory at the end", value: after.rssBytes / 1e6, unit: "MB" },
    { what: "handles before", value: before.handles, unit: "" },
    { what: "handles after", value: after.handles, unit: "", limit: before.handles },
    { what: "delay of the event loop, p99", value: p99Ms, unit: "ms", limit: MAX_P99_LOOP_DELAY_MS },
  ];
  const failures: string[] = [];
  if (isGrowthJudged && !(slopeMb < MAX_SLOPE_MB))
    failures.push(`resident memory grows by ${slopeMb.toFixed(2)} MB a minute, not less than ${MAX_SLOPE_MB}`);
  if (isGrowthJudged && !(heapSlopeMb < MAX_HEAP_SLOPE_MB))
    failures.push(`the heap grows by ${heapSlopeMb.toFixed(2)} MB a minute, not less than ${MAX_HEAP_SLOPE_MB}`);
  if (after.handles !== before.handles)
    failures.push(`${before.handles} handles were open before and ${after.handles} are after`);
  if (!(p99Ms < MAX_P99_LOOP_DELAY_MS))
    failures.push(
      `the p99 of the event loop's delay is ${p99Ms.toFixed(0)} ms, not less than ${MAX_P99_LOOP_DELAY_MS}`,
    );
  if (counted.settled !== acknowledged || counted.accepted !== acknowledged)
    failures.push(
      `${acknowledged} outcomes were acknowledged, but ${counted.settled} are counted and ${counted.accepted} accepted`,
    );
  if (perSecond < 0.95 * OUTCOMES_PER_SECOND)
    failures.push(`only ${perSecond.toFixed(0)} outcomes a second were acknowledged, not ${OUTCOMES_PER_SECOND}`);
  return { rows, failures };
}

/** The slope of the least-squares line. */
function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const n = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / n;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / n;
  const covariance = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const variance = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return covariance / variance;
}
