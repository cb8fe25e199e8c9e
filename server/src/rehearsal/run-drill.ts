/**
 * A drill as a whole: the server fills a shadow of the alias, runtime processes use it, faults are injected one by one, and the
 * record says what held. However it ends, its processes end and the shadow is emptied; where we can't do that any more, the
 * server does, once it has heard nothing for a while.
 */
import { setTimeout as delay } from "node:timers/promises";
import { type Drill, type DrillStep, type DrillTimes, FlagbackError, type StartDrillBody } from "@flagback/schemas";
import { type Api, connectApi } from "../cli/api-client.ts";
import type { Program } from "../processes/child.ts";
import { exercise } from "./exercise.ts";
import { Fleet } from "./fleet.ts";
import { Steps } from "./steps.ts";

/** Runs a second, over all runtimes: enough that a fault shows within a second or two. */
const RUNS_PER_SECOND = 300;
/** How long the processes may take to start and to connect. */
const START_MS = 20_000;
const LOOK_EVERY_MS = 40;

export interface DrillParts {
  readonly url: string;
  /** A lead's. */
  readonly token: string | undefined;
  /** Somebody's who is on call; by default one that is lent for the drill. */
  readonly operatorToken?: string;
  readonly onStep: (step: DrillStep) => void;
  readonly onLine: (line: string) => void;
  /** Aborted where somebody breaks it off. */
  readonly signal: AbortSignal;
  /** What a runtime process runs. */
  readonly program?: Program;
}

/**
 * Runs one drill and answers its record.
 * @throws FlagbackError where it can't begin: the server's refusal, or `unreachable`
 */
export async function runDrill(parts: DrillParts, body: StartDrillBody): Promise<Drill> {
  const { url, token, onStep, onLine, signal } = parts;
  const api = connectApi({ url, token });
  const started = await api.startDrill(body);
  const { drill, tokens } = started;
  onLine(`drill ${drill.number} of ${drill.alias}: ${drill.candidate} to ${drill.target} on ${drill.shadow}`);
  for (const adjustment of drill.adjustments) onLine(adjustment);
  for (const step of drill.steps) onStep(step);
  const fleet = new Fleet(onLine, parts.program);
  const times: DrillTimes[] = [];
  try {
    // A rollback that can't fire or has nowhere to go is not worth a rehearsal.
    if (drill.steps.every(({ result }) => result === "pass")) {
      await connected(fleet, started, parts);
      const steps = new Steps({ tell: (step) => api.drillSteps(drill.id, [step]), say: onStep, signal });
      const onCall = connectApi({ url, token: parts.operatorToken ?? tokens.operator });
      const onlooker = connectApi({ url, token: tokens.viewer });
      for (const fault of drill.faults) {
        const done = await exercise({ api, onCall, onlooker, started, fleet, steps }, fault);
        times.push(done.times);
        if (done.incident === undefined) break;
      }
    }
    // Before the tokens go, so that no runtime asks for a new one.
    await fleet.close();
    return await ended(api, drill.id, times);
  } catch (error) {
    await fleet.close();
    const because = signal.aborted ? "it was interrupted" : (error as Error).message;
    return await ended(api, drill.id, times, because);
  }
}

/** Gives each process its part, and waits until all of them play. */
async function connected(
  fleet: Fleet,
  { tokens, drill, candidate, target, policy, writeSwitch, switches }: Awaited<ReturnType<Api["startDrill"]>>,
  { url, signal }: DrillParts,
): Promise<void> {
  const until = async (state: "up" | "running") => {
    const deadlineMs = performance.now() + START_MS;
    for (;;) {
      const late = fleet.all.find((runtime) => runtime.state !== state);
      if (!late) return;
      if (late.state === "lost" || performance.now() > deadlineMs) throw notStarted(late.name, state);
      await delay(LOOK_EVERY_MS, undefined, { signal });
    }
  };
  await until("up");
  const ids = { shadow: drill.shadow, candidate: candidate.id, target: target.id };
  fleet.begin({ url, token: tokens.runtime, ...ids, policy, writeSwitch, switches }, RUNS_PER_SECOND);
  await until("running");
}

/** Where the server has ended it already, its record stands. */
async function ended(api: Api, id: string, times: DrillTimes[], because?: string): Promise<Drill> {
  try {
    return (await api.finishDrill(id, { times, ...(because === undefined ? {} : { because }) })).drill;
  } catch (error) {
    if (error instanceof FlagbackError && error.code === "drill_not_running") return await api.drill(id);
    throw error;
  }
}

function notStarted(name: string, state: "up" | "running"): FlagbackError {
  return new FlagbackError({
    code: "unreachable",
    message: `${name} ${state === "up" ? "did not start" : "could not connect to the server"} within ${START_MS / 1_000} s`,
    hint: "What it said stands above.",
  });
}
