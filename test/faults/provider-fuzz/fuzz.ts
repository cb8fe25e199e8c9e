/**
 * The provider fuzz: real servers, hostile networks and gateways, and runtimes that must bear all of it.
 */
import type { FlagbackProviderOptions } from "@flagback/provider";
import { OpenFeature } from "@openfeature/server-sdk";
import { SeededRandom } from "../../support/seeded-random.ts";
import { AgentLoad } from "./agent-load.ts";
import { type FoundViolation, FuzzRuntime } from "./fuzz-runtime.ts";
import { differences } from "./in-step.ts";
import { type Action, type Round, scheduleOf } from "./schedule.ts";
import { World } from "./world.ts";

export interface FuzzOptions {
  readonly seed: number;
  /** How long faults are injected; healing comes on top. */
  readonly seconds: number;
  readonly say?: (line: string) => void;
  /** For the fuzz's own test: providers with a defect. */
  readonly provider?: Partial<FlagbackProviderOptions>;
}

export interface FuzzReport {
  readonly violations: readonly FoundViolation[];
  readonly rounds: number;
  /** Faults that were injected, by kind. */
  readonly faults: Readonly<Record<string, number>>;
  readonly changes: Readonly<Record<"done" | "refused" | "unanswered", number>>;
  readonly evaluations: number;
  readonly runs: number;
  readonly acknowledgements: number;
  readonly connections: number;
  readonly polls: number;
}

interface Stage {
  readonly runtimes: readonly FuzzRuntime[];
  readonly loads: readonly AgentLoad[];
  readonly world: World;
}

const RUNTIMES = 4;
/** Violations that are said as they are found; one defect breaks its rule at every evaluation. */
const MAX_SAID = 20;
/** A handshake that was lost takes ten seconds to be given up, and a revision that never comes another ten. */
const HEAL_TIMEOUT_MS = 40_000;

export async function fuzz({ seed, seconds, say = () => undefined, provider = {} }: FuzzOptions): Promise<FuzzReport> {
  const violations: FoundViolation[] = [];
  const found = (violation: FoundViolation) => {
    violations.push(violation);
    if (violations.length <= MAX_SAID) say(`VIOLATION ${violation.runtime} ${violation.rule}: ${violation.detail}`);
  };
  const escaped = (error: unknown) => found({ rule: "escaped", runtime: "host", detail: String(error), before: [] });
  process.on("uncaughtException", escaped);
  process.on("unhandledRejection", escaped);
  const closers: (() => Promise<unknown>)[] = [];
  try {
    const world = await World.open((line) => {
      found({ rule: "escaped", runtime: "server", detail: line, before: [] });
    });
    closers.push(() => world.close());
    const seeds = new SeededRandom(seed + 1);
    const runtimes: FuzzRuntime[] = [];
    for (let i = 0; i < RUNTIMES; i++) {
      const runtime = await FuzzRuntime.open(`runtime-${i}`, seeds.seed(), () => world.upstream, found, provider);
      closers.push(() => runtime.close());
      runtimes.push(runtime);
    }
    const loads = runtimes.map((runtime) => new AgentLoad(runtime, seeds.seed()));
    const schedule = scheduleOf(seed, seconds, RUNTIMES);
    const faults: Record<string, number> = {};
    for (const [i, round] of schedule.entries()) {
      for (const load of loads) load.start();
      await attackFor(round, { runtimes, loads, world }, faults);
      for (const { attack } of runtimes) attack.relent();
      await world.settled();
      for (const load of loads) await load.stop();
      const healedMs = await healed(runtimes, world);
      await silenced(runtimes);
      say(
        `round ${i + 1} of ${schedule.length}: in step after ${healedMs.toFixed(0)} ms, ${violations.length} violations`,
      );
    }
    const sum = (of: (runtime: FuzzRuntime) => number) => runtimes.reduce((total, runtime) => total + of(runtime), 0);
    return {
      violations,
      rounds: schedule.length,
      faults,
      changes: world.changes,
      evaluations: sum((runtime) => runtime.evaluations),
      runs: loads.reduce((total, load) => total + load.finishedRuns, 0),
      acknowledgements: sum((runtime) => runtime.acknowledgements),
      connections: sum((runtime) => runtime.attack.connections),
      polls: sum((runtime) => runtime.polls),
    };
  } finally {
    for (const close of closers.reverse()) await close();
    await OpenFeature.clearProviders();
    process.off("uncaughtException", escaped);
    process.off("unhandledRejection", escaped);
  }
}

/** Carries out a round's actions, each at its time. */
async function attackFor(round: Round, stage: Stage, faults: Record<string, number>): Promise<void> {
  const startedMs = performance.now();
  const changes: Promise<void>[] = [];
  for (const action of round.actions) {
    await until(startedMs + action.atMs);
    faults[action.fault.kind] = (faults[action.fault.kind] ?? 0) + 1;
    changes.push(perform(action, stage));
  }
  await until(startedMs + round.forMs);
  await Promise.all(changes);
}

async function perform(action: Action, { runtimes, loads, world }: Stage): Promise<void> {
  if (action.target === "runtime") {
    runtimes[action.runtime]?.attack.perform(action.fault);
    return;
  }
  if (action.target === "process") {
    const load = loads[action.runtime];
    await load?.stop();
    await runtimes[action.runtime]?.restart(action.fault.damage);
    load?.start();
    return;
  }
  switch (action.fault.kind) {
    case "restart":
      world.restart();
      return;
    case "failover":
      world.failOver(() => {
        for (const { attack } of runtimes) attack.moved();
      });
      return;
    case "change":
      return world.change(action.fault.seed);
  }
}

/**
 * Waits until every runtime is in step with its server, also one that can only poll, and then, with every stream let through,
 * until it has nothing left to report. Answers how long that took.
 */
async function healed(runtimes: readonly FuzzRuntime[], world: World): Promise<number> {
  const startedMs = performance.now();
  for (const runtime of runtimes) {
    await eventually(runtime, "is not in step", async () => differences(runtime, await world.snapshot()));
  }
  for (const { attack } of runtimes) attack.end();
  for (const runtime of runtimes) {
    await eventually(runtime, "keeps outcomes", () => {
      const { pending } = runtime.provider.outcomeStatistics;
      return pending === 0 ? [] : [`${pending} outcomes wait`];
    });
  }
  return performance.now() - startedMs;
}

/** Without a packet from the server no runtime says for long that it is in step; and with the packets it does again. */
async function silenced(runtimes: readonly FuzzRuntime[]): Promise<void> {
  for (const { attack } of runtimes) attack.vanish();
  for (const runtime of runtimes) {
    await eventually(runtime, "is cut off", () => (runtime.client.providerStatus === "READY" ? ["it says READY"] : []));
  }
  for (const { attack } of runtimes) attack.end();
  for (const runtime of runtimes) {
    await eventually(runtime, "is back", () => {
      const { providerStatus } = runtime.client;
      return providerStatus === "READY" ? [] : [`it says ${providerStatus}`];
    });
  }
}

/** Waits until nothing is wrong any more; what still is when the time is over is a violation. */
async function eventually(
  runtime: FuzzRuntime,
  what: string,
  wrong: () => readonly string[] | Promise<readonly string[]>,
): Promise<void> {
  const deadlineMs = performance.now() + HEAL_TIMEOUT_MS;
  for (;;) {
    const found = await wrong();
    if (found.length === 0) return;
    if (performance.now() > deadlineMs) {
      runtime.violated({ rule: "not_in_step", detail: `${what}: ${found.slice(0, 5).join("; ")}` });
      return;
    }
    await until(performance.now() + 10);
  }
}

function until(atMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, atMs - performance.now())));
}
