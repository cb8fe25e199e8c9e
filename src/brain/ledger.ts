/**
 * The assignment ledger of one rollout of an alias: outcome counts of both arms by the tick in which the run's assignment
 * was registered (BRAIN 2.6), and within a tick by runtime. Plain JSON data. The functions change the ledger in place,
 * because recording is the hot path; `cloneLedger` takes a copy to keep.
 */
import type { Outcome } from "@flagback/schemas";
import { badnessOf, type Exclusion, exclusionOf, isHit } from "./badness.ts";
import type { CompiledGuardrail } from "./compiled.ts";
import {
  ARMS,
  type Arm,
  addBadness,
  addTo,
  type Counts,
  cloneCounts,
  type GuardrailCounts,
  pendingOf,
  type RuntimeCounts,
} from "./counts.ts";
import { MILLIONTHS } from "./detector.ts";
import { type ArmCounts, findTick, frozen, openRuntime, openTick, runtimeIn, type TickCounts } from "./ledger-ticks.ts";
import { clonePrefix, type LedgerPrefix, newPrefix } from "./prefix.ts";
import { guardrailsAt, guardrailsInForce, isSameThreshold, type StageThresholds } from "./stage-thresholds.ts";

/** The candidate's share of the assignments of both arms, in thousandths of a percent, from a tick on. */
export interface ExpectedShare {
  tick: number;
  candidateWeight: number;
}

/** What a database holds: the counts of one runtime on one arm in one tick. */
export interface CountsRow extends RuntimeCounts {
  arm: Arm;
  tick: number;
}

/** All that a verdict depends on; a decision stores exactly this. */
export interface Ledger {
  guardrails: CompiledGuardrail[];
  /** Ascending. What stages of their own thresholds changed; left out where none did. */
  thresholds?: StageThresholds[];
  alpha: number;
  /** Stages of the rollout: C = 1 + 0.05 (stages - 1). */
  stages: number;
  /** Ticks at which a later stage began, ascending; its lump is added before that tick's outcomes. */
  lumpTicks: number[];
  /** Ticks from this one on may still get assignments; `null` where none can, as in recorded data. */
  openFrom: number | null;
  /** Ascending. Empty where nobody says what to expect; then exposure is not tested. */
  expected: ExpectedShare[];
  prefix: LedgerPrefix;
  /** Open ticks, ascending. */
  ticks: TickCounts[];
}

const NO_LIMITS: readonly number[] = [];

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
    openFrom: null,
    expected: [],
    prefix: newPrefix(guardrails),
    ticks: [],
  };
}

/** Where the runs of one runtime, arm and tick are counted: kept by whoever counts many, until the tick is frozen. */
export interface Cell {
  readonly tick: number;
  readonly total: Counts;
  readonly counts: RuntimeCounts;
}

/** The cell, new where nothing was counted in it. @throws RangeError where the tick is frozen. */
export function openCell(ledger: Ledger, arm: Arm, runtime: string, tick: number): Cell {
  const side = openTick(ledger, tick).arms[arm];
  return { tick, total: side.total, counts: openRuntime(ledger, side, runtime) };
}

/** Registers `n` assignments. @throws RangeError where the tick is frozen or the number is not a count. */
export function recordAssigned(ledger: Ledger, arm: Arm, runtime: string, tick: number, n: number): void {
  const assigned = count(n);
  assignIn(openCell(ledger, arm, runtime, tick), assigned);
}

/** The same, in a cell. @throws RangeError where the number is not a count. */
export function assignIn({ total, counts }: Cell, n: number): void {
  const assigned = count(n);
  counts.assigned += assigned;
  total.assigned += assigned;
}

/**
 * Settles one pending run. `overdueLimitsMs` are the latency limits that it was counted overdue for while it was open, so
 * that those guardrails don't judge it twice.
 * @throws RangeError where the tick is frozen or the runtime has none pending in it.
 */
export function recordOutcome(
  ledger: Ledger,
  arm: Arm,
  runtime: string,
  tick: number,
  outcome: Outcome,
  overdueLimitsMs: readonly number[] = NO_LIMITS,
): void {
  const [total, counts] = pendingCounts(ledger, arm, runtime, tick, 1);
  settleIn(ledger, { tick, total, counts }, outcome, overdueLimitsMs);
}

/** The same, in a cell. @throws RangeError where its runtime has none pending in it. */
export function settleIn(
  ledger: Ledger,
  cell: Cell,
  outcome: Outcome,
  overdueLimitsMs: readonly number[] = NO_LIMITS,
): void {
  const { total, counts, tick } = cell;
  if (pendingOf(counts) < 1) throw nonePending(ledger, counts.runtime, tick, 0, 1);
  total.settled += 1;
  counts.settled += 1;
  const exclusion = exclusionOf(outcome);
  if (exclusion !== null) {
    total.excluded[exclusion] += 1;
    counts.excluded[exclusion] += 1;
  }
  const guardrails = guardrailsAt(ledger, tick);
  for (let g = 0; g < guardrails.length; g++) {
    // All three arrays have one entry for each guardrail.
    const guardrail = guardrails[g] as CompiledGuardrail;
    if (overdueLimitsMs.length > 0 && overdueLimitsMs.includes(guardrail.limitMs ?? Number.NaN)) continue;
    const badness = badnessOf(guardrail, outcome);
    if (badness === null) continue;
    const into = counts.guardrails[g] as GuardrailCounts;
    const hit = into.bins !== undefined && isHit(guardrail, outcome) === true;
    addBadness(into, badness, hit);
    addBadness(total.guardrails[g] as GuardrailCounts, badness, hit);
  }
  for (const limitMs of overdueLimitsMs) endOverdueIn(ledger, cell, limitMs, 1);
}

/**
 * Judges `n` runs that are still open past a latency limit: however they end, they exceed it. So a hang is judged at the
 * limit, and not when it times out. @throws RangeError as {@link recordOutcome}.
 */
export function recordOverdue(
  ledger: Ledger,
  arm: Arm,
  runtime: string,
  tick: number,
  limitMs: number,
  n: number,
): void {
  for (const counts of pendingCounts(ledger, arm, runtime, tick, n)) {
    for (const into of latencyCounts(ledger, tick, counts, limitMs)) {
      into.judged += n;
      into.bad += n * MILLIONTHS;
      into.overdue = (into.overdue ?? 0) + n;
    }
  }
}

/** Notes that `n` overdue runs have ended, with a report or without. @throws RangeError where the tick is frozen. */
export function endOverdue(ledger: Ledger, arm: Arm, runtime: string, tick: number, limitMs: number, n: number): void {
  const [total, counts] = pendingCounts(ledger, arm, runtime, tick, 0);
  endOverdueIn(ledger, { tick, total, counts }, limitMs, n);
}

function endOverdueIn(ledger: Ledger, { total, counts, tick }: Cell, limitMs: number, n: number): void {
  for (const each of [total, counts]) {
    for (const into of latencyCounts(ledger, tick, each, limitMs)) into.overdueEnded = (into.overdueEnded ?? 0) + n;
  }
}

function latencyCounts(ledger: Ledger, tick: number, counts: Counts, limitMs: number): GuardrailCounts[] {
  const guardrails = guardrailsAt(ledger, tick);
  return counts.guardrails.filter(
    (_each, g) => guardrails[g]?.kind === "latency" && guardrails[g]?.limitMs === limitMs,
  );
}

/**
 * Settles `n` pending runs that say nothing about any guardrail, as `exclusion` says why; without it they belong to no
 * class, as drills do. @throws RangeError as {@link recordOutcome}.
 */
export function settleExcluded(
  ledger: Ledger,
  arm: Arm,
  runtime: string,
  tick: number,
  n: number,
  exclusion?: Exclusion,
): void {
  for (const counts of pendingCounts(ledger, arm, runtime, tick, n)) {
    counts.settled += n;
    if (exclusion !== undefined) counts.excluded[exclusion] += n;
  }
}

/** Counts `n` pending runs as missing: no outcome within `outcomeTimeout`. @throws RangeError as {@link recordOutcome}. */
export function recordMissing(ledger: Ledger, arm: Arm, runtime: string, tick: number, n: number): void {
  for (const counts of pendingCounts(ledger, arm, runtime, tick, n)) counts.missing += n;
}

/** Counts `n` pending runs as lost with their host. @throws RangeError as {@link recordOutcome}. */
export function recordLost(ledger: Ledger, arm: Arm, runtime: string, tick: number, n: number): void {
  for (const counts of pendingCounts(ledger, arm, runtime, tick, n)) counts.lost += n;
}

/**
 * Adds a row of counts, as a replica or the database holds it. Rows of one tick may be added in any order and any split;
 * a single row may settle more than it assigned, their sum may not.
 * @throws RangeError where the tick is frozen or the row is of other guardrails.
 */
export function addCounts(ledger: Ledger, row: CountsRow): void {
  if (row.guardrails.length !== ledger.guardrails.length)
    throw new RangeError(`the row of tick ${row.tick} has counts of ${row.guardrails.length} guardrails`);
  const side = openTick(ledger, row.tick).arms[row.arm];
  addTo(openRuntime(ledger, side, row.runtime), row);
  addTo(side.total, row);
}

/** The rows of an open tick, candidate first, ascending by runtime. Copies; none where the tick is not open. */
export function rowsOf(ledger: Ledger, tick: number): CountsRow[] {
  const found = findTick(ledger, tick);
  if (found === undefined) return [];
  return ARMS.flatMap((arm) => found.arms[arm].runtimes.map((counts) => ({ arm, tick, ...cloneCounts(counts) })));
}

/**
 * Begins a later stage: its lump is added before the outcomes of `tick`, or of the next tick where this one has assignments
 * already, because a restart may only be placed between ticks. Once every stage of the policy has begun, entering one
 * again adds nothing. @throws RangeError where the tick is frozen or earlier than another stage's.
 */
export function beginStage(ledger: Ledger, tick: number): void {
  if (ledger.lumpTicks.length >= ledger.stages - 1) return;
  const last = ledger.ticks.at(-1);
  const isTaken = last !== undefined && last.tick >= tick && ARMS.some((arm) => last.arms[arm].total.assigned > 0);
  const lumpTick = isTaken ? last.tick + 1 : tick;
  if (lumpTick <= ledger.prefix.throughTick) throw frozen(ledger, tick);
  if (lumpTick < (ledger.lumpTicks.at(-1) ?? 0))
    throw new RangeError(`a stage cannot begin at tick ${tick}, before the last one`);
  ledger.lumpTicks.push(lumpTick);
}

/**
 * From `tick` on, runs are judged by these thresholds; the same as before change nothing.
 * @throws RangeError where the tick or a later one has runs, or is frozen, or the guardrails are others.
 */
export function changeThresholds(ledger: Ledger, tick: number, guardrails: readonly CompiledGuardrail[]): void {
  const before = guardrailsInForce(ledger);
  const isOther = guardrails.some(({ name, kind }, g) => before[g]?.name !== name || before[g]?.kind !== kind);
  if (isOther || guardrails.length !== before.length) throw new RangeError("thresholds are of other guardrails");
  // Both have one entry for each guardrail.
  if (guardrails.every((guardrail, g) => isSameThreshold(guardrail, before[g] as CompiledGuardrail))) return;
  if (tick <= ledger.prefix.throughTick) throw frozen(ledger, tick);
  const last = ledger.ticks.at(-1);
  if (last !== undefined && last.tick >= tick) throw new RangeError(`tick ${last.tick} has runs, judged as before`);
  const earlier = (ledger.thresholds ?? []).filter((each) => each.tick < tick);
  ledger.thresholds = [...earlier, { tick, guardrails: [...guardrails] }];
}

/**
 * Says that `tick` has begun: it and later ones may still get assignments, earlier ones are closed. The comparison with stable
 * is of a tick as a whole, so it waits until the tick is closed, or looking often would cost some of alpha; everything else
 * is judged at once. Call it before judging wherever assignments still come in.
 */
export function beginTick(ledger: Ledger, tick: number): void {
  ledger.openFrom = Math.max(tick, ledger.openFrom ?? 0);
}

/** Whether a tick gets no more assignments. */
export function isClosed({ openFrom }: Ledger, tick: number): boolean {
  return openFrom === null || tick < openFrom;
}

/**
 * Says which share of both arms' assignments the candidate should have from `tick` on, in thousandths of a percent. What is
 * past is forgotten when it freezes. @throws RangeError for another weight, a frozen tick, or one before the last change.
 */
export function expectShare(ledger: Ledger, tick: number, candidateWeight: number): void {
  if (!Number.isInteger(candidateWeight) || candidateWeight < 0 || candidateWeight > 100_000)
    throw new RangeError(`a weight is an integer from 0 to 100000, not ${candidateWeight}`);
  if (tick <= ledger.prefix.throughTick) throw frozen(ledger, tick);
  const last = ledger.expected.at(-1);
  if (last !== undefined && tick < last.tick) throw new RangeError(`the weight changed later, at tick ${last.tick}`);
  if (last?.tick === tick) last.candidateWeight = candidateWeight;
  else if (last?.candidateWeight !== candidateWeight) ledger.expected.push({ tick, candidateWeight });
}

/** A copy that shares nothing with the ledger but its compiled guardrails, which never change. */
export function cloneLedger(ledger: Ledger): Ledger {
  const cloneArm = ({ total, runtimes }: ArmCounts): ArmCounts => ({
    total: cloneCounts(total),
    runtimes: runtimes.map(cloneCounts),
  });
  return {
    ...ledger,
    guardrails: [...ledger.guardrails],
    ...(ledger.thresholds ? { thresholds: ledger.thresholds.map((each) => ({ ...each })) } : {}),
    lumpTicks: [...ledger.lumpTicks],
    expected: ledger.expected.map((entry) => ({ ...entry })),
    prefix: clonePrefix(ledger.prefix),
    ticks: ledger.ticks.map(({ tick, arms }) => ({
      tick,
      arms: { candidate: cloneArm(arms.candidate), stable: cloneArm(arms.stable) },
    })),
  };
}

/** The total and the runtime's counts, of which `n` are pending. */
function pendingCounts(ledger: Ledger, arm: Arm, runtime: string, tick: number, n: number): [Counts, RuntimeCounts] {
  const side = findTick(ledger, tick)?.arms[arm];
  const counts = side && runtimeIn(side, runtime);
  if (side === undefined || counts === undefined || pendingOf(counts) < count(n)) {
    throw nonePending(ledger, runtime, tick, counts ? pendingOf(counts) : 0, n);
  }
  return [side.total, counts];
}

function nonePending(ledger: Ledger, runtime: string, tick: number, pending: number, n: number): RangeError {
  if (tick <= ledger.prefix.throughTick) return frozen(ledger, tick);
  return new RangeError(`${runtime} has ${pending} runs pending in tick ${tick}, not ${n}`);
}

function count(n: number): number {
  if (!Number.isSafeInteger(n) || n < 0) throw new RangeError(`not a count: ${n}`);
  return n;
}
