/**
 * The assignment ledger of one (alias, version, rolloutNumber): outcome counts by the tick in which the run's assignment
 * was registered (BRAIN 2.6). Plain JSON data, all counters integers that only grow, so that replicas merge by sum. The
 * functions change the ledger in place, because recording is the hot path; `cloneLedger` takes a copy to keep.
 */
import type { Outcome } from "@flagback/schemas";
import { badnessOf } from "./badness.ts";
import { BINS, type Bins, binOf, newLogS, START_LOG_E } from "./detector.ts";
import type { CompiledGuardrail } from "./guardrails.ts";

/** What one tick's outcomes say about one guardrail. */
export interface GuardrailCounts {
  /** Settled outcomes that say something about the guardrail. */
  judged: number;
  /** Sum of their badness, in millionths. */
  bad: number;
  /** Kinds whose badness is a fraction only. */
  bins?: Bins;
}

/** One tick. Pending runs are `assigned - settled - missing - lost`. */
export interface TickCounts {
  /** The server's tick, an integer from 0. */
  tick: number;
  assigned: number;
  /** Runs whose outcome is known, also where it says nothing about any guardrail. */
  settled: number;
  /** Runs without an outcome at `outcomeTimeout`: bad for the error rate, excluded elsewhere. */
  missing: number;
  /** Runs of a host that was lost in silence: excluded everywhere. */
  lost: number;
  /** In the order of the ledger's guardrails. */
  guardrails: GuardrailCounts[];
}

/** Where replaying stands after the last tick that it went through. */
export interface LedgerPrefix {
  /** Every tick up to it is frozen; -1 before the first. */
  throughTick: number;
  /** Runs assigned in the ticks gone through. */
  assigned: number;
  /** Six logarithms for each guardrail. */
  detectors: number[][];
  /** Evidence for each guardrail: outcomes counted and their badness in millionths. */
  totals: { n: number; bad: number }[];
  /** logE of each guardrail as it was decided on at `tick`. */
  logE: number[];
  /** Highest logE of the weighted sum so far. */
  peakLogE: number;
  /** The last tick with counts, or the one where the threshold was reached; `null` before the first. */
  tick: number | null;
  /** True once the threshold was reached: everything above stays as it was then. */
  crossed: boolean;
}

/** All that a verdict depends on; a decision stores exactly this. */
export interface Ledger {
  guardrails: CompiledGuardrail[];
  alpha: number;
  /** Stages of the rollout: C = 1 + 0.05 (stages - 1). */
  stages: number;
  /** Ticks at which a later stage began, ascending; its lump is added before that tick's outcomes. */
  lumpTicks: number[];
  prefix: LedgerPrefix;
  /** Open ticks, ascending. */
  ticks: TickCounts[];
}

/**
 * An empty ledger. `stages` is the number of stages that the rollout can go through, from its first one on, at least 1; a
 * number too high costs a little delay, one too low costs the later stages their lumps.
 */
export function newLedger(guardrails: readonly CompiledGuardrail[], alpha: number, stages: number): Ledger {
  return {
    guardrails: [...guardrails],
    alpha,
    stages,
    lumpTicks: [],
    prefix: {
      throughTick: -1,
      assigned: 0,
      detectors: guardrails.map(newLogS),
      totals: guardrails.map(() => ({ n: 0, bad: 0 })),
      logE: guardrails.map(() => START_LOG_E),
      peakLogE: START_LOG_E,
      tick: null,
      crossed: false,
    },
    ticks: [],
  };
}

/** Registers `n` assignments. @throws RangeError where the tick is frozen or the number is not a count. */
export function recordAssigned(ledger: Ledger, tick: number, n: number): void {
  openTick(ledger, tick).assigned += count(n);
}

/** Settles one pending run of the tick. @throws RangeError where the tick is frozen or has none pending. */
export function recordOutcome(ledger: Ledger, tick: number, outcome: Outcome): void {
  const counts = pendingTick(ledger, tick, 1);
  counts.settled += 1;
  for (let g = 0; g < ledger.guardrails.length; g++) {
    // Both arrays have one entry for each guardrail.
    const badness = badnessOf(ledger.guardrails[g] as CompiledGuardrail, outcome);
    if (badness !== null) addBadness(counts.guardrails[g] as GuardrailCounts, badness);
  }
}

/** Settles `n` pending runs that say nothing about any guardrail. @throws RangeError as {@link recordOutcome}. */
export function settleExcluded(ledger: Ledger, tick: number, n: number): void {
  pendingTick(ledger, tick, n).settled += n;
}

/** Counts `n` pending runs as missing: no outcome within `outcomeTimeout`. @throws RangeError as {@link recordOutcome}. */
export function recordMissing(ledger: Ledger, tick: number, n: number): void {
  pendingTick(ledger, tick, n).missing += n;
}

/** Counts `n` pending runs as lost with their host. @throws RangeError as {@link recordOutcome}. */
export function recordLost(ledger: Ledger, tick: number, n: number): void {
  pendingTick(ledger, tick, n).lost += n;
}

/**
 * Adds a row of counts, as a replica or the database holds it. Rows of one tick may be added in any order and any split;
 * a single row may settle more than it assigned, their sum may not. @throws RangeError where the tick is frozen.
 */
export function addCounts(ledger: Ledger, row: TickCounts): void {
  const counts = openTick(ledger, row.tick);
  counts.assigned += row.assigned;
  counts.settled += row.settled;
  counts.missing += row.missing;
  counts.lost += row.lost;
  counts.guardrails.forEach((into, g) => {
    const from = row.guardrails[g];
    if (from === undefined) throw new RangeError(`the row of tick ${row.tick} has no counts of guardrail ${g}`);
    into.judged += from.judged;
    into.bad += from.bad;
    if (into.bins && from.bins) addBins(into.bins, from.bins);
  });
}

/**
 * Begins a later stage: its lump is added before the outcomes of `tick`, or of the next tick where this one has assignments
 * already, because a restart may only be placed between ticks. Once every stage of the policy has begun, entering one
 * again adds nothing. @throws RangeError where the tick is frozen or earlier than another stage's.
 */
export function beginStage(ledger: Ledger, tick: number): void {
  if (ledger.lumpTicks.length >= ledger.stages - 1) return;
  const last = ledger.ticks.at(-1);
  const lumpTick = last !== undefined && last.tick >= tick && last.assigned > 0 ? last.tick + 1 : tick;
  if (lumpTick <= ledger.prefix.throughTick) throw frozen(ledger, tick);
  if (lumpTick < (ledger.lumpTicks.at(-1) ?? 0))
    throw new RangeError(`a stage cannot begin at tick ${tick}, before the last one`);
  ledger.lumpTicks.push(lumpTick);
}

/** Runs of the tick whose outcome is not known. Never negative, also where a replica's assignments are not here yet. */
export function pendingOf(counts: TickCounts): number {
  return Math.max(0, counts.assigned - counts.settled - counts.missing - counts.lost);
}

/** A copy that shares nothing with the ledger but its compiled guardrails, which never change. */
export function cloneLedger(ledger: Ledger): Ledger {
  return {
    ...ledger,
    guardrails: [...ledger.guardrails],
    lumpTicks: [...ledger.lumpTicks],
    prefix: clonePrefix(ledger.prefix),
    ticks: ledger.ticks.map((counts) => ({ ...counts, guardrails: counts.guardrails.map(cloneGuardrailCounts) })),
  };
}

export function clonePrefix(prefix: LedgerPrefix): LedgerPrefix {
  return {
    ...prefix,
    detectors: prefix.detectors.map((logS) => [...logS]),
    totals: prefix.totals.map((total) => ({ ...total })),
    logE: [...prefix.logE],
  };
}

function cloneGuardrailCounts(counts: GuardrailCounts): GuardrailCounts {
  return counts.bins ? { ...counts, bins: { n: [...counts.bins.n], sum: [...counts.bins.sum] } } : { ...counts };
}

function addBadness(counts: GuardrailCounts, badness: number): void {
  counts.judged += 1;
  counts.bad += badness;
  if (counts.bins === undefined) return;
  const bin = binOf(badness);
  // binOf answers an index of the ten bins.
  counts.bins.n[bin] = (counts.bins.n[bin] as number) + 1;
  counts.bins.sum[bin] = (counts.bins.sum[bin] as number) + badness;
}

function addBins(into: Bins, from: Bins): void {
  for (let bin = 0; bin < BINS; bin++) {
    into.n[bin] = (into.n[bin] ?? 0) + (from.n[bin] ?? 0);
    into.sum[bin] = (into.sum[bin] ?? 0) + (from.sum[bin] ?? 0);
  }
}

function pendingTick(ledger: Ledger, tick: number, n: number): TickCounts {
  const counts = findTick(ledger, tick);
  if (counts === undefined || pendingOf(counts) < count(n)) {
    if (tick <= ledger.prefix.throughTick) throw frozen(ledger, tick);
    throw new RangeError(`tick ${tick} has ${counts ? pendingOf(counts) : 0} pending runs, not ${n}`);
  }
  return counts;
}

function openTick(ledger: Ledger, tick: number): TickCounts {
  const found = findTick(ledger, tick);
  if (found) return found;
  if (!Number.isSafeInteger(tick) || tick < 0) throw new RangeError(`a tick is an integer from 0, not ${tick}`);
  if (tick <= ledger.prefix.throughTick) throw frozen(ledger, tick);
  const counts: TickCounts = {
    tick,
    assigned: 0,
    settled: 0,
    missing: 0,
    lost: 0,
    guardrails: ledger.guardrails.map(newGuardrailCounts),
  };
  ledger.ticks.splice(indexFrom(ledger.ticks, tick), 0, counts);
  return counts;
}

function newGuardrailCounts(guardrail: CompiledGuardrail): GuardrailCounts {
  if (guardrail.kind !== "tool_failure") return { judged: 0, bad: 0 };
  return { judged: 0, bad: 0, bins: { n: new Array<number>(BINS).fill(0), sum: new Array<number>(BINS).fill(0) } };
}

function findTick(ledger: Ledger, tick: number): TickCounts | undefined {
  const last = ledger.ticks.at(-1);
  if (last === undefined || last.tick < tick) return undefined;
  if (last.tick === tick) return last;
  const found = ledger.ticks[indexFrom(ledger.ticks, tick)];
  return found?.tick === tick ? found : undefined;
}

/** Index of the first open tick that is not before `tick`. */
function indexFrom(ticks: readonly TickCounts[], tick: number): number {
  let low = 0;
  let high = ticks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    // The middle lies between the ends.
    if ((ticks[middle] as TickCounts).tick < tick) low = middle + 1;
    else high = middle;
  }
  return low;
}

function count(n: number): number {
  if (!Number.isSafeInteger(n) || n < 0) throw new RangeError(`not a count: ${n}`);
  return n;
}

function frozen(ledger: Ledger, tick: number): RangeError {
  return new RangeError(`tick ${tick} is frozen; ticks through ${ledger.prefix.throughTick} no longer change`);
}
