/**
 * The demo: a candidate that is worse than stable gets 5 % of the traffic of three runtimes, and flagback takes it back.
 * The server and the runtimes are processes; every value shown is read from the server's API or counted by a runtime.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { type AuditEvent, FlagbackError } from "@flagback/schemas";
import type { RolloutStatus } from "../cli/api-answers.ts";
import { eventLine } from "../cli/event-text.ts";
import { followAudit } from "../cli/follow-audit.ts";
import type { Io } from "../cli/io.ts";
import { planHeadings } from "../cli/plan-text.ts";
import { EXIT } from "../cli/report-error.ts";
import { anySignal, timeoutSignal } from "../cli/signals.ts";
import { type Display, openDisplay } from "./display.ts";
import { resolutionsSince } from "./messages.ts";
import { assetPath, readRecordedRuns } from "./recorded-runs.ts";
import { healthyResult, type RollbackFacts, rollbackResult, unproven } from "./result.ts";
import { ALIAS, CANDIDATE, seededOrder } from "./scenario.ts";
import { openStage, type Stage } from "./stage.ts";
import { healthyLines, opening, policyLines, proofLines, stayingLines, verdictLines } from "./story.ts";

export interface DemoOptions {
  readonly seed: number;
  readonly port: number;
  readonly runsPerSecond: number;
  /** End after convergence instead of staying up. */
  readonly exit: boolean;
  readonly json: boolean;
  readonly healthy: boolean;
  readonly killOne: boolean;
}

/** Candidate runs that `--healthy` counts. */
const HEALTHY_RUNS = 2_000;
/** Resolutions that each runtime makes after its acknowledgement before the demo believes it. */
const PROOF_RESOLUTIONS = 500;
/** Candidate runs after which `--kill-one` kills a runtime: long before there can be evidence enough. */
const KILL_AFTER_RUNS = 10;
/** With --exit the whole demo ends within this time of the process's start, one way or the other. */
const DEADLINE_MS = { healthy: 58_000, broken: 55_000 };
const STABLE_ONLY_MS = 1_000;
const VIEW_EVERY_MS = 250;
const CHECK_EVERY_MS = 20;
/** Runs a second while the demo stays up for its visitor: little work, and a rollout started by hand still ends in a minute. */
const IDLE_RUNS_PER_SECOND = 150;

/** What the demo is doing, for the view and for the error of a deadline. */
interface Play {
  readonly io: Io;
  readonly options: DemoOptions;
  readonly display: Display;
  readonly stage: Stage;
  readonly signal: AbortSignal;
  phase: string;
  isRolloutStarted: boolean;
  rollout?: RolloutStatus;
}

/** Returns the exit status. @throws FlagbackError when it can't be played to its end */
export async function runDemo(options: DemoOptions, io: Io): Promise<number> {
  const display = openDisplay(options.json ? io.stderr : io.stdout, io.env);
  const interrupted = io.untilInterrupted();
  const deadlineMs = options.healthy ? DEADLINE_MS.healthy : DEADLINE_MS.broken;
  const deadline = options.exit ? timeoutSignal(Math.round(deadlineMs - process.uptime() * 1_000)) : undefined;

  display.say("flagback demo: starting a server and three runtimes, each a process of its own");
  const stage = await openStage({ port: options.port, onLog: (line) => display.say(line) });
  const signal = anySignal([interrupted, stage.lost, ...(deadline ? [deadline] : [])]);
  const play: Play = { io, options, display, stage, signal, phase: "preparing", isRolloutStarted: false };
  try {
    return await perform(play);
  } catch (error) {
    if (interrupted.aborted) return EXIT.refused;
    if (stage.lost.aborted) throw failure((stage.lost.reason as Error).message, error);
    if (deadline?.aborted) throw failure(`The demo was not over after ${deadlineMs / 1_000} s (${play.phase})`, error);
    throw error;
  } finally {
    await stage.close();
  }
}

async function perform(play: Play): Promise<number> {
  const { options, display, stage, signal } = play;
  await prepare(play);
  const showing = new AbortController();
  const shown = keepShowing(play, showing.signal);
  try {
    play.phase = "all traffic on stable";
    stage.pace(options.runsPerSecond);
    await delay(STABLE_ONLY_MS, undefined, { signal });
    const started = await stage.api.startRollout(ALIAS, { candidate: CANDIDATE, stage: "validation", reason: "demo" });
    play.phase = "rollout at stage validation";
    play.isRolloutStarted = true;
    display.say(started.change.summary);
    const event = await untilRollback(play, started.change.auditId ?? 0);
    play.phase = event ? "waiting for the proof" : "healthy to the end";
    const status = event ? await proveRollback(play, event, showing) : await proveHealth(play, showing);
    if (options.exit || status !== EXIT.done) return status;
    await stayUp(play, event !== undefined);
    return status;
  } finally {
    showing.abort();
    await shown;
  }
}

/** Applies the configuration and connects the runtimes. */
async function prepare({ options, display, stage, signal }: Play): Promise<void> {
  const runs = await readRecordedRuns();
  const { seed, runsPerSecond, healthy } = options;
  const yaml = await readFile(assetPath("demo.yaml"), "utf8");
  display.say(`the server listens on ${stage.url}`, "");
  display.say(...opening({ seed, order: seededOrder(seed, runs.length), runsPerSecond, isHealthy: healthy }), "");
  display.say("The policy, with the reason of each threshold:", ...policyLines(yaml, display.paint), "");
  const applied = await stage.api.apply(yaml);
  display.say("Applied:", planHeadings(applied.plan, display.paint), "");
  await until(signal, () => stage.runtimes.every((runtime) => runtime.state === "up"));
  await stage.begin({ seed, isCandidateBad: !healthy });
  await until(signal, () => stage.runtimes.every((runtime) => runtime.state === "running"));
}

/** Shows the view until told to end. */
async function keepShowing(play: Play, end: AbortSignal): Promise<void> {
  const { display, stage } = play;
  while (!end.aborted && !play.signal.aborted) {
    if (play.isRolloutStarted) {
      // The view is a courtesy: if it can't be had, the demo goes on.
      play.rollout = await stage.api.rollout(ALIAS).catch(() => play.rollout);
    }
    if (end.aborted) break;
    display.show({
      elapsedMs: process.uptime() * 1_000,
      phase: play.phase,
      rollout: play.rollout,
      runtimes: stage.runtimes.map(({ name, state, progress }) => ({
        name,
        state: state === "killed" ? "killed" : "running",
        runs: progress.runs,
        writesRefused: progress.writesRefused,
      })),
    });
    await delay(VIEW_EVERY_MS, undefined, { signal: end }).catch(() => {});
  }
}

/** The rollback's audit row; nothing when `--healthy` has counted its runs. Kills a runtime on the way, if asked. */
async function untilRollback(play: Play, after: number): Promise<AuditEvent | undefined> {
  const { options, stage, display, signal } = play;
  const watching = new AbortController();
  const candidateRuns = () => play.rollout?.traffic.find(({ version }) => version === CANDIDATE)?.settled ?? 0;
  const rollback = firstRollback(stage, after, anySignal([signal, watching.signal]));
  const victim = stage.runtimes.at(-1);
  const killed = async () => {
    if (!options.killOne || victim === undefined) return;
    await until(anySignal([signal, watching.signal]), () => candidateRuns() >= KILL_AFTER_RUNS);
    victim.kill();
    display.say(`${victim.name} is killed with SIGKILL`);
  };
  const healthy = () => until(anySignal([signal, watching.signal]), () => candidateRuns() >= HEALTHY_RUNS);
  const killing = killed().catch(() => {});
  try {
    return await (options.healthy ? Promise.race([rollback, healthy().then(() => undefined)]) : rollback);
  } finally {
    watching.abort();
    await Promise.allSettled([rollback, killing]);
  }
}

async function firstRollback(stage: Stage, after: number, signal: AbortSignal): Promise<AuditEvent | undefined> {
  for await (const event of followAudit(stage.api, { after, target: `alias:${ALIAS}`, signal })) {
    if (event.action === "rollback") return event;
  }
  signal.throwIfAborted();
  return undefined;
}

/** Reads from the server and the runtimes what became of the rollback, tells it, and judges it. */
async function proveRollback(play: Play, event: AuditEvent, showing: AbortController): Promise<number> {
  const { options, display, stage, signal, io } = play;
  const { api } = stage;
  const revision = event.revision ?? 0;
  const living = stage.runtimes.filter((runtime) => runtime.state !== "killed");
  await until(signal, async () => {
    const { acknowledged, lapsed, runtimes } = await api.propagation(revision);
    return acknowledged + lapsed >= runtimes;
  });
  await until(signal, () =>
    living.every(({ progress }) => resolutionsSince(progress, revision).all >= PROOF_RESOLUTIONS),
  );

  const [row = event] = await api.audit({ after: event.id - 1, limit: 1 });
  const facts: RollbackFacts = {
    event: row,
    alias: await api.alias(ALIAS),
    killSwitches: await api.killSwitches(),
    propagation: await api.propagation(revision),
    incident: await api.incident(event.incident ?? ""),
    sinceAck: living.map(({ progress }) => resolutionsSince(progress, revision)),
  };
  const proofs = living.map(({ name, instance, progress }, index) => ({
    name,
    ackMs: facts.propagation.acknowledgements.find((each) => each.instance === instance)?.ms ?? null,
    resolutions: facts.sinceAck[index]?.all ?? 0,
    candidate: facts.sinceAck[index]?.candidate ?? 0,
    writesRefused: progress.writesRefused,
    firstRefusal: progress.firstRefusal,
  }));

  const result = rollbackResult(facts);
  const problems = unproven(result, living.length);
  showing.abort();
  display.settle();
  display.say(...verdictLines(row, facts, result, display.paint), ...proofLines(proofs, display.paint), "");
  for (const problem of problems) display.say(`${display.paint("red", "NOT PROVEN")}  ${problem}`);
  if (options.json) io.stdout.write(`${JSON.stringify(result)}\n`);
  return problems.length === 0 ? EXIT.done : EXIT.refused;
}

async function proveHealth({ options, display, stage, io }: Play, showing: AbortController): Promise<number> {
  const alias = await stage.api.alias(ALIAS);
  const result = healthyResult(await stage.api.rollout(ALIAS), alias);
  showing.abort();
  display.settle();
  display.say(...healthyLines(result, display.paint), "");
  if (options.json) io.stdout.write(`${JSON.stringify(result)}\n`);
  return result.rolledBack ? EXIT.refused : EXIT.done;
}

/** Leaves everything running, slowly, and tells what happens until Ctrl-C. */
async function stayUp({ display, stage, signal, io }: Play, wasRolledBack: boolean): Promise<void> {
  stage.pace(IDLE_RUNS_PER_SECOND);
  const program = io.env.npm_lifecycle_event === "start" ? "npm run -s flagback --" : "flagback";
  const { url, adminToken: token, api } = stage;
  const incident = wasRolledBack ? (await api.incidents())[0]?.id : undefined;
  display.say(...stayingLines({ url, token, program, incident, paint: display.paint }));
  const seen = (await api.audit({ limit: 1 })).at(-1)?.id ?? 0;
  for await (const event of followAudit(api, { after: seen, signal })) display.say(eventLine(event));
}

/** Asks again and again, because what is awaited happens in other processes. */
async function until(signal: AbortSignal, isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) {
    signal.throwIfAborted();
    await delay(CHECK_EVERY_MS, undefined, { signal });
  }
}

function failure(message: string, cause: unknown): FlagbackError {
  return new FlagbackError(
    {
      code: "internal_error",
      message: `${message}.`,
      hint: "Run it again, or choose with --rate how many runs a second are played.",
    },
    { cause },
  );
}
