/**
 * The day after a crash: 10 000 runtimes lose their server at once and come back to it at once, while somebody flips a kill
 * switch. Until all of them hold that change: how long, and what it costs the server in memory and in delays of its event loop.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { sharedNowMs } from "./load/clock.ts";
import { Fleet } from "./load/fleet.ts";
import type { HerdSkills } from "./load/herd-child.ts";
import { Peer } from "./load/peer.ts";
import type { Usage } from "./load/usage.ts";
import type { Benchmark, Options, Report, Row } from "./report.ts";

const RUNTIMES = 10_000;
/** So that a whole snapshot has a size that means something. */
const FLAGS = 200;
const DOWN_MS = 2_000;
/** How long the server is watched after the last of them is back, so that heartbeats and leases are seen as well. */
const WATCH_MS = 6_000;
const MAX_MS = 15_000;
const MAX_LOOP_DELAY_MS = 250;
const MAX_RSS_BYTES = 1_000_000_000;

interface Scenario {
  readonly name: string;
  readonly end: "stop" | "kill";
  /** Whether they come back with what they held, or as new processes that need everything. */
  readonly resumes: boolean;
}

const SCENARIOS: readonly Scenario[] = [
  { name: "killed, runtimes resume", end: "kill", resumes: true },
  { name: "killed, runtimes need all", end: "kill", resumes: false },
  { name: "stopped in order", end: "stop", resumes: true },
];

interface Measured {
  readonly name: string;
  /** From the moment in which the server listens. */
  readonly halfMs: number;
  readonly lastMs: number;
  readonly flipMs: number;
  readonly attempts: number;
  readonly putOff: number;
  readonly usage: Usage;
  readonly after: Usage;
}

export const herd: Benchmark = { summary: "10 000 runtimes coming back to a server that was restarted", run };

async function run({ quick }: Options): Promise<Report> {
  const measured: Measured[] = [];
  for (const scenario of quick ? SCENARIOS.slice(0, 1) : SCENARIOS) measured.push(await measure(scenario));
  return reportOf(measured);
}

async function measure({ name, end, resumes }: Scenario): Promise<Measured> {
  const fleet = await Fleet.start();
  const runtimes = await Peer.start<HerdSkills>("./herd-child.ts");
  try {
    await fleet.post("/v1/apply", { flags: Object.fromEntries(Array.from({ length: FLAGS }, (_, i) => flag(i))) });
    await runtimes.ask("start", { port: fleet.port, token: fleet.runtimeToken, n: RUNTIMES, resumes });
    const { revision } = await fleet.flip();
    await runtimes.ask("await", revision + 1);
    await fleet.end(end);
    await sleep(DOWN_MS);
    const listeningMs = await fleet.startAgain();
    const flip = await fleet.flip({ settled: false });
    const flipMs = sharedNowMs() - flip.postedMs;
    const { p50Ms, lastMs, attempts, putOff } = await runtimes.ask("held");
    const usage = await fleet.server.ask("usage", { collect: false });
    await sleep(WATCH_MS);
    const after = await fleet.server.ask("usage", { collect: false });
    return {
      name,
      halfMs: p50Ms - listeningMs,
      lastMs: lastMs - listeningMs,
      flipMs,
      attempts,
      putOff,
      usage,
      after,
    };
  } finally {
    await runtimes.ask("stop").catch(() => undefined);
    await runtimes.close();
    await fleet.close();
  }
}

function flag(i: number) {
  const definition = {
    state: "ENABLED",
    variants: { on: true, off: false },
    defaultVariant: i % 2 === 0 ? "on" : "off",
  };
  return [`flag-${i}`, definition] as const;
}

function reportOf(measured: readonly Measured[]): Report {
  const rows: Row[] = [];
  const failures: string[] = [];
  for (const { name, halfMs, lastMs, flipMs, attempts, putOff, usage, after } of measured) {
    const delayMs = Math.max(usage.maxOwnLoopDelayMs, after.maxOwnLoopDelayMs);
    const peakBytes = after.peakRssBytes;
    rows.push(
      { what: `${name}: half of them current`, value: halfMs / 1_000, unit: "s" },
      { what: `${name}: all of them current`, value: lastMs / 1_000, unit: "s", limit: MAX_MS / 1_000 },
      { what: `${name}: largest delay of the event loop`, value: delayMs, unit: "ms", limit: MAX_LOOP_DELAY_MS },
      { what: `${name}: the same, once all are back`, value: after.maxOwnLoopDelayMs, unit: "ms" },
      { what: `${name}: the same in all, with others on the processor`, value: usage.maxLoopDelayMs, unit: "ms" },
      { what: `${name}: peak memory, resident`, value: peakBytes / 1e6, unit: "MB", limit: MAX_RSS_BYTES / 1e6 },
      { what: `${name}: POST of the kill switch, answered`, value: flipMs, unit: "ms" },
      { what: `${name}: attempts for each runtime`, value: attempts / RUNTIMES, unit: "" },
      { what: `${name}: attempts that were told to come later`, value: putOff, unit: "" },
    );
    if (lastMs > MAX_MS)
      failures.push(`${name}: ${seconds(lastMs)} until all are current, more than ${seconds(MAX_MS)}`);
    if (delayMs > MAX_LOOP_DELAY_MS)
      failures.push(`${name}: the event loop stood still for ${delayMs.toFixed(0)} ms, more than ${MAX_LOOP_DELAY_MS}`);
    if (peakBytes > MAX_RSS_BYTES)
      failures.push(`${name}: ${(peakBytes / 1e6).toFixed(0)} MB at the peak, more than ${MAX_RSS_BYTES / 1e6}`);
  }
  return { rows, failures };
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
