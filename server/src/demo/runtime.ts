/**
 * One runtime of the demo: a process of its own that runs agents with the real provider and counts what it was served.
 */

import { setTimeout as delay } from "node:timers/promises";
import { FlagbackProvider, guardTools, type Run, withRun } from "@flagback/provider";
import { type Client, OpenFeature, ProviderEvents } from "@openfeature/server-sdk";
import type { FromRuntime, ToRuntime } from "./messages.ts";
import { readRecordedRuns } from "./recorded-runs.ts";
import { ALIAS, type PlayedRun, playRun, type Scenario, STABLE, seededOrder, TIME_COMPRESSION } from "./scenario.ts";
import { Tally } from "./tally.ts";

/** How often runs are started; each time as many as are due. */
const START_EVERY_MS = 10;
/** A pause of the process longer than this is not made up for with a burst. */
const MAX_ARREARS_MS = 500;
const REPORT_EVERY_MS = 100;

type Begin = Extract<ToRuntime, { type: "begin" }>;

/** Plays until told to end, or until the demo is gone. */
export async function playRuntime(): Promise<void> {
  const tell = (message: FromRuntime) => process.send?.(message);
  const ended = new AbortController();
  process.once("disconnect", () => ended.abort());
  let pacer: Pacer | undefined;
  const begun = new Promise<Begin | undefined>((resolve) => {
    ended.signal.addEventListener("abort", () => resolve(undefined));
    process.on("message", (message: ToRuntime) => {
      if (message.type === "begin") resolve(message);
      else if (message.type === "pace") pacer?.setPace(message.runsPerSecond);
      else ended.abort();
    });
  });
  tell({ type: "up" });
  const begin = await begun;
  if (begin === undefined) return;

  const { url, token } = begin;
  const logger = {
    warn: (message: string) => void tell({ type: "log", message }),
    error: (message: string) => void tell({ type: "log", message }),
  };
  const provider = new FlagbackProvider({ url, token, logger });
  const tally = new Tally();
  OpenFeature.addHandler(ProviderEvents.ConfigurationChanged, (event) => {
    const revision = event?.metadata?.revision;
    if (typeof revision === "number") tally.applied(revision);
  });
  await OpenFeature.setProviderAndWait(provider);
  const agents = await startAgents(OpenFeature.getClient(), begin, tally);
  pacer = agents;
  tell({ type: "ready", instance: provider.instance });
  const reporting = setInterval(() => tell({ type: "progress", progress: tally.progress() }), REPORT_EVERY_MS);

  if (!ended.signal.aborted) await new Promise((resolve) => ended.signal.addEventListener("abort", resolve));
  await agents.stop();
  clearInterval(reporting);
  await OpenFeature.close();
  if (process.connected) process.disconnect();
}

interface Pacer {
  setPace(runsPerSecond: number): void;
}

/** Starts runs at the pace that is set, each on its own, and waits for the open ones when stopped. */
async function startAgents(client: Client, begin: Begin, tally: Tally): Promise<Pacer & { stop(): Promise<void> }> {
  const recorded = await readRecordedRuns();
  const order = seededOrder(begin.seed, recorded.length);
  const scenario: Scenario = begin;
  const open = new Set<Promise<void>>();
  let runsPerSecond = 0;
  let started = 0;
  let lastMs = performance.now();
  let due = 0;

  const start = (n: number) => {
    const running = runAgent(client, begin, n, tally, (version) =>
      playRun(scenario, recorded, order, { runtime: begin.runtime, n, version }),
    ).finally(() => open.delete(running));
    open.add(running);
  };
  const timer = setInterval(() => {
    const nowMs = performance.now();
    due += (Math.min(nowMs - lastMs, MAX_ARREARS_MS) / 1_000) * runsPerSecond;
    lastMs = nowMs;
    for (; due >= 1; due -= 1) start(started++);
  }, START_EVERY_MS);

  return {
    setPace(pace) {
      runsPerSecond = pace;
    },
    async stop() {
      clearInterval(timer);
      await Promise.all(open);
    },
  };
}

/** One run of the support agent: which version am I, do the work, ask before each write, report. */
async function runAgent(
  client: Client,
  { runtime, seed }: Begin,
  n: number,
  tally: Tally,
  play: (version: string) => PlayedRun,
): Promise<void> {
  const runId = `run-${runtime}-${n}`;
  const userId = `customer-${seed}-${runtime}-${n}`;
  await withRun({ client, agent: ALIAS, userId, runId }, async (run) => {
    const count = tally.resolving();
    const version = await run.pin(ALIAS, STABLE);
    count(version);
    const played = play(version);
    await delay(played.durationMs / TIME_COMPRESSION);
    useTools(played, tally);
    report(run, played);
  });
  tally.ran();
}

/** The recorded number of tool calls, of which the recorded number fails; the writes come last. */
function useTools(played: PlayedRun, tally: Tally): void {
  for (let call = 0; call < played.toolCalls; call += 1) {
    const isWrite = call >= played.toolCalls - played.writes;
    const input = { fails: call < played.toolErrors };
    try {
      const said = isWrite ? tools.update_reservation.execute(input) : tools.get_reservation.execute(input);
      if (isWrite) tally.wrote(said);
    } catch {
      // The agent goes on after a failed call, as the recorded ones did; the guard has counted it.
    }
  }
}

const answer = ({ fails }: { readonly fails: boolean }): string => {
  if (fails) throw new Error("the airline's system answered with an error");
  return "done";
};
const tools = guardTools(
  { get_reservation: { execute: answer }, update_reservation: { execute: answer } },
  { writes: ["update_reservation"] },
);

/** Tool calls are counted by the guard; the duration is the synthesised one. */
function report(run: Run, { isSuccess, durationMs }: PlayedRun): void {
  run.report(
    isSuccess
      ? { status: "success", durationMs }
      : { status: "failure", durationMs, errorOrigin: "agent", errorType: "task_failed" },
  );
}
