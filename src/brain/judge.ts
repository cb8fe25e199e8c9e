/**
 * The verdict on a ledger (BRAIN 2.5 to 2.7): replays the detectors over the open ticks, in order, with the candidate's
 * pending runs counted as good, and stops at the first tick where the rules lead to a stop.
 */
import type { GuardrailMode } from "@flagback/schemas";
import { CONSEQUENCES, consequenceOf, type Group } from "./consequence.ts";
import { ARMS, type Counts } from "./counts.ts";
import { decide, type Exit, heaviestOf, sumOf } from "./decide.ts";
import { evidenceOf } from "./evidence.ts";
import { exclusionsOf, exposureOf, isExclusionExcess, isMismatch } from "./exposure.ts";
import { freezeOthers } from "./leave-one-out.ts";
import { isClosed, type Ledger } from "./ledger.ts";
import type { TickCounts } from "./ledger-ticks.ts";
import { cloneProgress, type LedgerPrefix } from "./prefix.ts";
import { beginStagesThrough, endTick, multiplyTick, newReplay, othersOf, type Replay } from "./replay.ts";
import type { AllowVerdict, HoldReason, Judgement, StandingVerdict, StopVerdict, Verdict } from "./verdict.ts";

type Undecided = Exclude<Exit, { kind: "stop" }>;

/** A log e-value that stands for none: the log of the smallest number. JSON has no -Infinity. */
const NO_LOG_E = -745;

/** Judges the ledger. Pure: the same ledger gives the same verdict, also after JSON. */
export function judge(ledger: Ledger): Verdict {
  return judgeInFull(ledger).verdict;
}

export interface Judged {
  readonly verdict: Verdict;
  /** The stop that asks people; it stays, also where the verdict is a graver one. */
  readonly asking?: StopVerdict;
  /** How it stands at the last tick, short of any stop. */
  readonly standing: StandingVerdict;
}

/** The verdict, and beside it what people are asked for and how things went on since. */
export function judgeInFull(ledger: Ledger): Judged {
  const replay = newReplay(ledger, cloneProgress(ledger.prefix));
  walk(replay, Number.POSITIVE_INFINITY);
  const { state } = replay;
  const standing = state.standing ?? standingOf(replay, { kind: "allow" });
  const stop = stopOf(state);
  // What stable suffers from too comes before what would only be asked or frozen.
  const isLesser = stop !== undefined && consequenceOf(stop) !== "rollback";
  if (isLesser && standing.kind === "hold" && standing.reason === "shared_cause")
    return { verdict: standing, standing };
  const asking = state.stops.find((each) => consequenceOf(each) === "approval");
  return { verdict: stop ?? standing, ...(asking ? { asking } : {}), standing };
}

/**
 * Moves the ticks up to and including `tick` into the prefix, which never changes the verdict. Changes the ledger in place.
 * @throws RangeError where one of them has a pending run or may still get one: its counts could still change.
 */
export function freezeThrough(ledger: Ledger, tick: number): void {
  if (tick <= ledger.prefix.throughTick) return;
  const open = ledger.ticks.findIndex((counts) => counts.tick > tick);
  const frozen = open === -1 ? ledger.ticks : ledger.ticks.slice(0, open);
  if (!isClosed(ledger, tick)) throw new RangeError(`tick ${tick} cannot freeze: it may still get assignments`);
  frozen.forEach(refusePending);
  const replay = newReplay(ledger, ledger.prefix);
  const others = othersOf(replay);
  walk(replay, tick);
  const { state } = replay;
  if (!isDecided(state)) {
    state.standing ??= standingOf(replay, { kind: "allow" });
    beginStagesThrough(ledger, state, tick);
    state.runtimes = freezeOthers(others, frozen.length, tick);
  }
  state.throughTick = tick;
  ledger.ticks = open === -1 ? [] : ledger.ticks.slice(open);
  const inForce = ledger.expected.findLastIndex((entry) => entry.tick <= tick);
  if (inForce > 0) ledger.expected.splice(0, inForce);
}

/** Goes through the open ticks up to and including `throughTick`, or to the one that decides on a rollback. */
function walk(replay: Replay, throughTick: number): void {
  const { ledger, state } = replay;
  const end = ledger.ticks.findIndex((counts) => counts.tick > throughTick);
  const ticks = end === -1 ? ledger.ticks.length : end;
  for (let index = 0; index < ticks && !isDecided(state); index++) {
    const counts = ledger.ticks[index] as TickCounts;
    multiplyTick(replay, counts);
    const exit = decideTick(replay, index, counts.tick);
    if (isDecided(state)) return;
    if (index === ticks - 1) state.standing = standingOf(replay, exit);
    endTick(replay, counts);
  }
}

/** Notes what is decided at the tick, and answers the gravest of what is not. */
function decideTick(replay: Replay, index: number, tick: number): Undecided {
  const { state } = replay;
  let undecided: Undecided = { kind: "allow" };
  for (const group of replay.groups) {
    const logE = sumOf(replay, group.tested);
    if (logE > state.peakLogE) state.peakLogE = logE;
    if (state.stops.some((stop) => consequenceOf(stop) === group.consequence)) continue;
    const exit = decide(replay, index, group, logE);
    if (exit.kind === "stop") state.stops.push(stopVerdictOf(replay, exit));
    else if (undecided.kind === "allow" || exit.kind === "shared") undecided = exit;
  }
  noteHold(state, "shared_cause", tick, undecided.kind === "shared");
  noteHold(state, "sample_ratio", tick, isMismatch(state));
  noteHold(state, "excluded_runs", tick, isExclusionExcess(state.exposure));
  return undecided;
}

function noteHold({ holdsSince }: LedgerPrefix, reason: HoldReason, tick: number, holds: boolean): void {
  holdsSince[reason] = holds ? (holdsSince[reason] ?? tick) : null;
}

/** Only a rollback ends it: what leads to less must not keep a rollback from being found later. */
function isDecided(state: LedgerPrefix): boolean {
  return state.stops.some((stop) => consequenceOf(stop) === "rollback");
}

/** The gravest stop so far. */
function stopOf({ stops }: LedgerPrefix): StopVerdict | undefined {
  return CONSEQUENCES.flatMap((consequence) => stops.filter((stop) => consequenceOf(stop) === consequence))[0];
}

function stopVerdictOf(replay: Replay, exit: Extract<Exit, { kind: "stop" }>): StopVerdict {
  const { reason, attribution, leading, others } = exit;
  const judgement = judgementOf(replay, leading, others.carriers);
  return { kind: "stop", reason, attribution, ...judgement };
}

/** Allowed or held, as of the last tick. */
function standingOf(replay: Replay, exit: Undecided): StandingVerdict {
  const { holdsSince } = replay.state;
  const judgement =
    exit.kind === "allow"
      ? judgementOf(replay, undefined, [])
      : judgementOf(replay, exit.leading, exit.others.carriers);
  // A shared cause first: it is the one that may still end in a stop.
  for (const reason of ["shared_cause", "sample_ratio", "excluded_runs"] as const) {
    const sinceTick = holdsSince[reason];
    if (sinceTick === null) continue;
    const attribution = reason === "shared_cause" ? ({ attribution: "shared" } as const) : {};
    return { kind: "hold", reason, ...attribution, sinceTick, ...judgement };
  }
  const allow: AllowVerdict = { kind: "allow", ...judgement };
  const heldBackBy = exit.kind === "held_back" ? exit.others.heldBackBy : undefined;
  return heldBackBy === undefined ? allow : { ...allow, heldBackBy };
}

function judgementOf(replay: Replay, leading: number | undefined, carriers: Judgement["carriers"]): Judgement {
  const { ledger, plans, state, threshold } = replay;
  const group = groupOf(replay, leading);
  const leader = leading ?? (group && heaviestOf(replay, group.tested));
  const guardrail = leader === undefined ? undefined : plans[leader]?.guardrail;
  const mode: GuardrailMode = guardrail?.mode ?? "observe";
  return {
    alpha: ledger.alpha,
    logE: Math.max(NO_LOG_E, group === undefined ? NO_LOG_E : sumOf(replay, group.tested)),
    peakLogE: state.peakLogE,
    threshold,
    tick: state.tick,
    guardrails: evidenceOf(replay),
    leading: guardrail?.name ?? "",
    mode,
    action: guardrail?.action ?? "rollback",
    carriers,
    exclusions: exclusionsOf(state),
    exposure: exposureOf(state),
  };
}

/** The group of the guardrail, or without one the group with the most evidence. */
function groupOf(replay: Replay, leading: number | undefined): Group | undefined {
  const { groups, plans } = replay;
  const guardrail = leading === undefined ? undefined : plans[leading]?.guardrail;
  if (guardrail !== undefined) return groups.find(({ consequence }) => consequence === consequenceOf(guardrail));
  const sums = groups.map(({ tested }) => sumOf(replay, tested));
  return groups[sums.indexOf(Math.max(...sums))];
}

function refusePending({ tick, arms }: TickCounts): void {
  for (const arm of ARMS) {
    const all: readonly Counts[] = [arms[arm].total, ...arms[arm].runtimes];
    const pending = all.map(({ assigned, settled, missing, lost }) => assigned - settled - missing - lost);
    const open = pending.find((each) => each !== 0);
    if (open !== undefined) throw new RangeError(`tick ${tick} cannot freeze: ${open} of its runs are pending`);
  }
}
