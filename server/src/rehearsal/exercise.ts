/**
 * One fault, from the first exposure of the candidate to the proof that stable is well: the real way of a rollback, looked at
 * from the outside at each step.
 */
import { type DrillFault, type DrillTimes, FlagbackError, type StartedDrill } from "@flagback/schemas";
import type { PropagationStatus } from "../cli/api-answers.ts";
import type { Api } from "../cli/api-client.ts";
import { millis } from "../cli/text.ts";
import type { Fleet } from "./fleet.ts";
import { type Sighting, stableLoads, switchesEngaged, switchesReleased, withdrawn } from "./sightings.ts";
import { fail, type Look, pass, type Steps, wait } from "./steps.ts";

/** How long each step may take. The longest is shorter than the silence after which the server ends a drill. */
const MOST_MS = {
  expose: 15_000,
  outcomes: 10_000,
  detect: 20_000,
  answer: 5_000,
  alerts: 10_000,
  recover: 30_000,
} as const;
/** Beyond the lease, for the server's clock and ours. */
const LEASE_GRACE_MS = 5_000;
/** The candidate's runs that must have been counted before anything is broken. */
const LEAST_RUNS = 5;

export interface ExerciseParts {
  /** As whoever runs the drill. */
  readonly api: Api;
  /** As the person on call. */
  readonly onCall: Api;
  /** As somebody who may only look. */
  readonly onlooker: Api;
  readonly started: StartedDrill;
  readonly fleet: Fleet;
  readonly steps: Steps;
}

/** What became of it: the times, and whether the drill can go on. */
export interface Exercised {
  readonly times: DrillTimes;
  readonly incident: string | undefined;
}

interface Rollback {
  readonly revision: number;
  readonly incident: string;
  /** From the injection. */
  readonly noticedMs: number;
}

export async function exercise(parts: ExerciseParts, fault: DrillFault): Promise<Exercised> {
  const nothing = { fault, noticedMs: null, detectMs: null, decideMs: null, commitMs: null, convergeMs: null };
  const noTimes: DrillTimes = { ...nothing, recoverMs: null, rollbackMs: null };
  const { api, fleet, started } = parts;
  const { shadow } = started.drill;
  if (!(await exposed(parts, fault))) return { times: noTimes, incident: undefined };
  if (!(await outcomesCounted(parts, fault))) return { times: noTimes, incident: undefined };
  const injectedMs = performance.now();
  const rollback = await detected(parts, fault, injectedMs);
  if (!rollback) return { times: noTimes, incident: undefined };

  const spread = await converged(parts, fault, rollback);
  await lookedAt(parts, fault, rollback);
  await permitted(parts, fault);
  await locked(parts, fault);
  await alerted(parts, fault);
  await recovered(parts, fault, rollback);
  fleet.inject(null);
  const incident = await api.incident(rollback.incident);
  const times = timesOf(fault, incident.timings, rollback, spread);
  await inTime(parts, fault, times);
  await api
    .unlock(shadow, {
      version: started.candidate.id,
      reason: `drill ${started.drill.number}: rehearsed ${fault}`,
      rootCause: `Injected by drill ${started.drill.number}: ${fault}.`,
    })
    .catch(unlessUnlocked);
  return { times, incident: rollback.incident };
}

/** The candidate gets traffic on every runtime, and nothing is wrong yet. */
async function exposed({ api, fleet, started, steps }: ExerciseParts, fault: DrillFault): Promise<boolean> {
  const { shadow, number } = started.drill;
  const before = new Map(fleet.living.map((runtime) => [runtime, runtime.candidateRuns]));
  let begun = false;
  return steps.until("expose", fault, MOST_MS.expose, async () => {
    if (!begun)
      await api.startRollout(shadow, { candidate: started.candidate.id, reason: `drill ${number}: ${fault}` });
    begun = true;
    const idle = fleet.living.filter((runtime) => runtime.candidateRuns <= (before.get(runtime) ?? 0));
    if (idle.length > 0) return wait(`${idle.map(({ name }) => name).join(", ")} ran no candidate`);
    return pass(`the candidate runs on ${fleet.living.length} runtimes, each a process of its own`);
  });
}

/** What runtimes report is counted for the shadow. */
async function outcomesCounted({ api, steps, started }: ExerciseParts, fault: DrillFault): Promise<boolean> {
  const { shadow } = started.drill;
  return steps.until("outcomes", fault, MOST_MS.outcomes, async () => {
    const { traffic } = await api.rollout(shadow);
    const counted = traffic.find(({ version }) => version === started.candidate.id);
    const text = `${counted?.settled ?? 0} outcomes of ${counted?.assigned ?? 0} candidate runs were counted`;
    return (counted?.settled ?? 0) >= LEAST_RUNS ? pass(text) : wait(text);
  });
}

/** The fault begins, and the brain acts on it. Where the policy wants a person to decide, the one on call does. */
async function detected(parts: ExerciseParts, fault: DrillFault, injectedMs: number): Promise<Rollback | undefined> {
  const { api, onCall, fleet, started, steps } = parts;
  const { shadow } = started.drill;
  fleet.inject(fault);
  const victim = fault === "crash" ? fleet.crash() : undefined;
  let found: Rollback | undefined;
  let held = "";
  await steps.until("detect", fault, MOST_MS.detect, async () => {
    const { state, hold, logE, threshold } = await api.rollout(shadow);
    if (state === "exposing" && (hold?.cause === "approval" || hold?.cause === "freeze")) {
      held = `; the policy leaves it to a person (${hold.cause}), and the one on call rolled back`;
      await onCall.rollback(shadow, `drill ${started.drill.number}: ${hold.summary}`);
    }
    const event = (await api.audit({ target: `alias:${shadow}`, limit: 50 })).findLast(
      ({ action, fromVersion }) => action === "rollback" && fromVersion === started.candidate.id,
    );
    const isOver = state !== "exposing" && state !== "paused";
    if (!isOver || event?.incident === undefined || event.revision === undefined) {
      const evidence =
        logE === null || threshold === null ? "none" : `log e ${logE.toFixed(2)} of ${threshold.toFixed(2)}`;
      const why = hold ? `it is held (${hold.cause}): ${hold.summary}` : `the evidence is ${evidence}`;
      return wait(`the candidate was not stopped; ${why}`);
    }
    const noticedMs = performance.now() - injectedMs;
    found = { revision: event.revision, incident: event.incident, noticedMs };
    const killed = victim === undefined ? "" : `, with ${victim} killed`;
    return pass(`${event.summary} ${millis(noticedMs)} after the fault began${killed}${held}`);
  });
  return found;
}

/** Every runtime that was connected has acknowledged the rollback, those of production too, or its lease is over. */
async function converged(
  { api, fleet, started, steps }: ExerciseParts,
  fault: DrillFault,
  { revision }: Rollback,
): Promise<PropagationStatus | undefined> {
  let spread: PropagationStatus | undefined;
  await steps.until("converge", fault, started.leaseMs + LEASE_GRACE_MS, async () => {
    spread = await api.propagation(revision);
    const { acknowledged, lapsed, runtimes, acknowledgements, p99Ms } = spread;
    const silent = fleet.living.find(({ instance }) => !acknowledgements.some((each) => each.instance === instance));
    const text = `applied by ${acknowledged} of ${runtimes} runtimes, lapsed ${lapsed}`;
    if (acknowledged + lapsed < runtimes) return wait(text);
    if (silent) return wait(`${text}; ${silent.name} did not acknowledge it`);
    return pass(`${text}${p99Ms === null ? "" : `, p99 ${millis(p99Ms)}`}`);
  });
  return spread;
}

/** What an agent would see on each runtime now. */
async function lookedAt(
  { fleet, started, steps }: ExerciseParts,
  fault: DrillFault,
  rollback: Rollback,
): Promise<void> {
  const sightings = await probed(fleet);
  await steps.until("withdrawn", fault, 0, () => answered(sightings) ?? withdrawn(sightings, rollback.revision));
  await steps.until("stable_loads", fault, 0, () => answered(sightings) ?? stableLoads(sightings, started));
  await steps.until(
    "kill_switch",
    fault,
    0,
    () => answered(sightings) ?? switchesEngaged(sightings, started, rollback.revision),
  );
}

async function probed(fleet: Fleet): Promise<Sighting[]> {
  const number = fleet.probe();
  const deadlineMs = performance.now() + MOST_MS.answer;
  const isAnswered = () => fleet.living.every(({ seen }) => seen?.number === number);
  while (!isAnswered() && performance.now() < deadlineMs) await new Promise((resolve) => setTimeout(resolve, 10));
  return fleet.living.map(({ name, seen }) => ({ name, seen: seen?.number === number ? seen.seen : undefined }));
}

function answered(sightings: readonly Sighting[]): Look | undefined {
  const silent = sightings.find(({ seen }) => seen === undefined);
  if (silent) return fail(`${silent.name} did not answer within ${MOST_MS.answer / 1_000} s`);
  return sightings.length === 0 ? fail("no runtime is left") : undefined;
}

/** The person on call may roll back, and somebody who may only look may not. */
async function permitted({ onCall, onlooker, started, steps }: ExerciseParts, fault: DrillFault): Promise<void> {
  const { shadow, number } = started.drill;
  const reason = `drill ${number}: may the one on call roll back?`;
  await steps.until("operator", fault, 0, async () => {
    const { change } = await onCall.rollback(shadow, reason);
    const refused = await refusalOf(() => onlooker.rollback(shadow, reason));
    if (refused !== "forbidden") return fail(`a viewer's token was answered ${refused ?? "as if it might roll back"}`);
    return pass(`an operator's token may roll back (${change.status}), and a viewer's may not`);
  });
}

/** Whatever would give the candidate weight again is refused, also under another id. */
async function locked({ api, onCall, started, steps }: ExerciseParts, fault: DrillFault): Promise<void> {
  const { policy, candidate, twin, drill } = started;
  const { shadow } = drill;
  await steps.until("lock", fault, 0, async () => {
    if (!policy.lockCandidate) return pass("the policy says lockCandidate: false, so nothing is locked");
    const reason = `drill ${drill.number}: is the lock enforced?`;
    for (const id of [candidate.id, twin]) {
      const refused = await refusalOf(() => api.startRollout(shadow, { candidate: id, reason }));
      if (refused === "version_locked") continue;
      if (refused === undefined) await onCall.rollback(shadow, reason);
      return fail(
        `a rollout of ${id} was ${refused === undefined ? "accepted" : `answered ${refused}`}, although its payload is locked`,
      );
    }
    const { stable } = await api.alias(shadow);
    const allocation = [
      { version: candidate.id, weight: 1_000 },
      { version: stable ?? "", weight: 99_000 },
    ];
    const refused = await refusalOf(() => api.putAlias(shadow, { allocation }));
    if (refused !== "version_locked")
      return fail(`a weight for ${candidate.id} was answered ${refused ?? "as if it were not locked"}`);
    return pass(
      `a rollout, a rollout of the same payload under another id and a weight were each refused (version_locked)`,
    );
  });
}

async function alerted({ api, started, steps }: ExerciseParts, fault: DrillFault): Promise<void> {
  await steps.until("alerts", fault, MOST_MS.alerts, async () => {
    const { isMet, why } = (await api.drill(started.drill.id)).alerts;
    return isMet ? pass(why) : wait(why);
  });
}

/** Stable is proven healthy, and what was engaged is released on each runtime. */
async function recovered(parts: ExerciseParts, fault: DrillFault, { incident }: Rollback): Promise<void> {
  const { api, fleet, started, steps } = parts;
  await steps.until("recover", fault, MOST_MS.recover, async () => {
    const { state, recovery } = await api.incident(incident);
    if (state === "recovered") return pass(`${started.target.id} was proven healthy by ${recovery.runs} runs`);
    const unproven = recovery.guardrails.filter(({ isHealthy }) => !isHealthy).map(({ guardrail }) => guardrail);
    const why = `the incident is ${state} after ${recovery.runs} runs of stable; not proven: ${unproven.join(", ") || "nothing"}`;
    return state === "open" || state === "unverified" ? wait(why) : fail(why);
  });
  await steps.until("release", fault, MOST_MS.answer, async () => {
    const sightings = await probed(fleet);
    const seen = answered(sightings) ?? switchesReleased(sightings, started);
    return seen.kind === "fail" ? wait(seen.why) : seen;
  });
}

async function inTime({ started, steps }: ExerciseParts, fault: DrillFault, times: DrillTimes): Promise<void> {
  const { drill, leaseMs } = started;
  const { rollbackMs, convergeMs } = times;
  await steps.until("in_time", fault, 0, () => {
    if (rollbackMs === null || convergeMs === null) return fail("the rollback did not converge");
    const took = `${millis(rollbackMs)} from the fault to the last runtime, of which ${millis(convergeMs)} to converge`;
    if (convergeMs > leaseMs + LEASE_GRACE_MS) return fail(`${took}, longer than the lease of ${leaseMs / 1_000} s`);
    if (drill.targetMs === null)
      return pass(`${took}; a rollback of data has no target, because indexes may have to be built again`);
    const target = `the target for a ${drill.kind} is ${drill.targetMs / 60_000} min`;
    return rollbackMs <= drill.targetMs ? pass(`${took}; ${target}`) : fail(`${took}; ${target}`);
  });
}

function timesOf(
  fault: DrillFault,
  timings: Readonly<Record<"detectMs" | "decideMs" | "commitMs" | "convergeMs" | "recoverMs", number | null>>,
  { noticedMs }: Rollback,
  spread: PropagationStatus | undefined,
): DrillTimes {
  const acknowledged = Math.max(0, ...(spread?.acknowledgements ?? []).map(({ ms }) => ms));
  const isConverged = spread !== undefined && spread.acknowledged + spread.lapsed >= spread.runtimes;
  const convergeMs = timings.convergeMs ?? (isConverged ? acknowledged : null);
  const rollbackMs = convergeMs === null ? null : noticedMs + convergeMs;
  return { fault, ...timings, noticedMs, convergeMs, rollbackMs };
}

/** The code of a refusal; undefined where there was none. */
async function refusalOf(command: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await command();
    return undefined;
  } catch (error) {
    if (error instanceof FlagbackError && error.code !== "unreachable") return error.code;
    throw error;
  }
}

/** A policy without a lock leaves nothing to unlock. */
function unlessUnlocked(error: unknown): void {
  if (error instanceof FlagbackError && error.code === "no_lock") return;
  throw error;
}
