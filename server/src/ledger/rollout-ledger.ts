/**
 * The counts of one rollout of an alias: the judged ledger of its two arms, the totals of every version, the assignments
 * that are still open, and the reports that came without one.
 */
import {
  ARMS,
  type Arm,
  addCounts,
  asRecoveryOutcome,
  assignIn,
  type Cell,
  type CountsRow,
  changeThresholds,
  compileGuardrails,
  endOverdue,
  freezeThrough,
  guardrailsAt,
  type Ledger,
  newLedger,
  openCell,
  pendingOf,
  recordLost,
  recordMissing,
  recordOverdue,
  rowsOf,
  settleExcluded,
  settleIn,
} from "@flagback/core";
import { type Alias, durationMs, type Observed, type Outcome, type Policy } from "@flagback/schemas";
import { type AssignmentRow, isRecovery, type LedgerTotals, type RolloutKey } from "../store/ledger-writes.ts";
import { candidateByRuntime, OutcomeNotes, type StageMark, trafficByStage } from "./observed.ts";
import type { StatusCounts } from "./reported-outcomes.ts";
import { TICK_MS } from "./tick-clock.ts";

const DEFAULT_OUTCOME_TIMEOUT_MS = 60_000;
const DEFAULT_ALPHA = 0.01;

/** Ids that a decision names as the last ones counted. */
const LAST_RUN_IDS = 20;
const NO_LIMITS: readonly number[] = [];

/** An announced assignment with runs left to settle. */
export interface OpenRow extends Omit<AssignmentRow, "rolloutNumber"> {
  readonly rollout: RolloutLedger;
  readonly tally: Tally;
  /** Where it is judged; undefined where its version is only counted. */
  readonly cell: JudgedCell | undefined;
  settled: number;
  isClosed: boolean;
  /** Whether it was handed to the store, so that the store has to be told when it closes. */
  isStored: boolean;
  markedIn?: object;
}

/** Where the runs of one runtime in one tick are judged. */
export interface JudgedCell extends Cell {
  readonly rollout: RolloutLedger;
  readonly arm: Arm;
  readonly ledger: Ledger;
  /** Whether it is of reports without an assignment, which wait for their tick's timeout. */
  readonly isHeld: boolean;
  markedIn?: object;
}

export type Totals = { -readonly [Name in keyof LedgerTotals]: LedgerTotals[Name] };

/** What was counted for one version in a rollout. */
export interface Tally {
  readonly rollout: RolloutLedger;
  readonly version: string;
  /** The arm that the version is judged on; `undefined` where it is only counted. */
  readonly arm: Arm | undefined;
  readonly totals: Totals;
  /** The version's outcomes since the start, over all rollouts; looked up when the first comes. */
  statuses: StatusCounts | undefined;
  /** What the outcomes of the candidate said, for an incident. */
  readonly notes: OutcomeNotes | undefined;
  /** Ids of the last runs counted, oldest first: {@link LAST_RUN_IDS} of them, or somewhat more. */
  readonly lastRunIds: string[];
  /** Ids of the runs counted and not handed to a store yet. */
  runIds: string[];
  markedIn?: object;
}

export class RolloutLedger {
  readonly key: RolloutKey;
  /** Its alias, as a list. */
  readonly aliases: readonly string[];
  readonly ledger: Ledger;
  readonly timeoutTicks: number;
  readonly #tallies = new Map<string, Tally>();
  markedIn?: object;
  /** Assignments that are open, by the tick they were registered in. */
  readonly open = new Map<number, Set<OpenRow>>();
  /** Outcomes without a registered assignment, by tick; judged once their tick is `outcomeTimeout` old. */
  readonly held = new Map<number, Ledger>();
  /** When the last outcome of the candidate came, on the server's monotonic clock; null before the first of this start. */
  lastCandidateOutcomeMs: number | null = null;
  /** The same of any version. */
  lastOutcomeMs: number | null = null;
  /** The last tick in which a run of the candidate began, as far as this start has seen any. */
  lastCandidateTick = Number.NEGATIVE_INFINITY;
  /** The last closed tick when somebody last looked. */
  lookedThroughTick = -1;
  readonly #stages: StageMark[] = [];
  readonly #candidate: string | undefined;
  readonly #target: string | undefined;

  /** `ledger` is what a store kept of it; without one it begins empty, under the alias's policy as it is now. */
  constructor(alias: Alias | undefined, key: RolloutKey, ledger?: Ledger) {
    const rollout = alias?.rollout?.rolloutNumber === Math.abs(key.rolloutNumber) ? alias.rollout : undefined;
    const policy = rollout?.policy ?? alias?.policy;
    this.key = key;
    this.aliases = [key.alias];
    this.#candidate = rollout?.candidate;
    this.#target = rollout?.target;
    this.timeoutTicks = Math.ceil((policy ? durationMs(policy.outcomeTimeout) : DEFAULT_OUTCOME_TIMEOUT_MS) / TICK_MS);
    if (ledger) {
      this.ledger = ledger;
      return;
    }
    // Recovery asks of stable what the policy asks of everything, and not what the candidate's stage asked.
    const compiled = rollout && compileGuardrails(rollout.policy, isRecovery(key) ? undefined : rollout.stage);
    // Stages before the one that the rollout began at will never begin, so they need no lump.
    const first = rollout?.policy.stages.findIndex((stage) => stage.name === rollout.stage) ?? 0;
    const stages = rollout ? rollout.policy.stages.length - Math.max(0, first) : 1;
    this.ledger = newLedger(
      compiled?.ok ? compiled.guardrails : [],
      policy?.alpha ?? DEFAULT_ALPHA,
      isRecovery(key) ? 1 : stages,
    );
  }

  /** What was counted for the version, from now on if nothing was. */
  tallyOf(version: string): Tally {
    const found = this.#tallies.get(version);
    if (found) return found;
    const totals = { assigned: 0, settled: 0, missing: 0, failures: 0 };
    const arm = this.#armOf(version);
    const tally: Tally = {
      rollout: this,
      version,
      arm,
      totals,
      statuses: undefined,
      notes: arm === "candidate" ? new OutcomeNotes() : undefined,
      lastRunIds: [],
      runIds: [],
    };
    this.#tallies.set(version, tally);
    return tally;
  }

  /** A stage has begun, or was under way when the server started. */
  stageBegan(stage: string): void {
    this.#stages.push({ stage, ...this.#assigned() });
  }

  /** Judges runs of later ticks by the stage's thresholds. Nothing changes where they are in force. */
  judgeBy(policy: Policy, stage: string, fromTick: number): void {
    if (isRecovery(this.key)) return;
    const compiled = compileGuardrails(policy, stage);
    if (compiled.ok && this.ledger.guardrails.length > 0) changeThresholds(this.ledger, fromTick, compiled.guardrails);
  }

  /** What an incident keeps of it. */
  observed(): Observed {
    const versions = [this.#candidate, this.#target].filter((version) => version !== undefined);
    const notes = this.#candidate === undefined ? undefined : this.tallyOf(this.#candidate).notes;
    return {
      traffic: versions.map((version) => ({ version, ...this.tallyOf(version).totals })),
      stages: trafficByStage(this.#stages, this.#assigned()),
      runtimes: candidateByRuntime(this.ledger),
      errors: notes?.errors ?? [],
      tools: notes?.tools ?? [],
      lastOutcomes: [...(notes?.lastOutcomes ?? [])],
    };
  }

  /** Of every version that was counted. */
  totals(): ReadonlyMap<string, Totals> {
    return new Map([...this.#tallies].map(([version, { totals }]) => [version, totals]));
  }

  totalsOf(version: string): LedgerTotals | undefined {
    return this.#tallies.get(version)?.totals;
  }

  /** Ids of the last runs counted for the version, oldest first. */
  lastRunIds(version: string): string[] {
    return this.#tallies.get(version)?.lastRunIds.slice(-LAST_RUN_IDS) ?? [];
  }

  /** Where a runtime's runs of a tick are judged. @throws RangeError where the tick is frozen. */
  cellOf(arm: Arm, runtime: string, tick: number): JudgedCell {
    return this.#cellOf(this.ledger, arm, runtime, tick, false);
  }

  assign(row: OpenRow, n: number): void {
    if (row.cell) assignIn(row.cell, n);
    row.tally.totals.assigned += n;
    if (row.tally.arm === "candidate") this.sawCandidate(row.tick);
  }

  /** A run of the candidate began in the tick. */
  sawCandidate(tick: number): void {
    if (tick > this.lastCandidateTick) this.lastCandidateTick = tick;
  }

  addOpen(row: OpenRow): void {
    const rows = this.open.get(row.tick) ?? new Set();
    this.open.set(row.tick, rows.add(row));
  }

  removeOpen(row: OpenRow): void {
    const rows = this.open.get(row.tick);
    rows?.delete(row);
    if (rows?.size === 0) this.open.delete(row.tick);
  }

  /** Counts runs of the row that are still open past a latency limit. */
  overdue(row: OpenRow, limitMs: number, n: number): void {
    const { arm } = row.tally;
    const before = row.overdue[limitMs] ?? 0;
    // A run is overdue for a limit once.
    const more = Math.min(n, row.assigned - row.settled - before);
    if (!arm || more <= 0) return;
    recordOverdue(this.ledger, arm, row.instance, row.tick, limitMs, more);
    row.overdue = { ...row.overdue, [limitMs]: before + more };
  }

  /** Counts the outcome of one run of the row; null where its report can't be counted. */
  settle(row: OpenRow, outcome: Outcome | null, overdueLimitsMs: readonly number[] = NO_LIMITS): void {
    const { tally, cell } = row;
    // Only what was counted overdue is excused from being judged by its duration.
    const known =
      overdueLimitsMs.length === 0 ? NO_LIMITS : overdueLimitsMs.filter((limitMs) => (row.overdue[limitMs] ?? 0) > 0);
    for (const limitMs of known) row.overdue = { ...row.overdue, [limitMs]: (row.overdue[limitMs] ?? 0) - 1 };
    if (cell && outcome) settleIn(this.ledger, cell, this.#judgedAs(outcome), known);
    else if (tally.arm) settleExcluded(this.ledger, tally.arm, row.instance, row.tick, 1);
    row.settled += 1;
    if (outcome) countSettled(tally, outcome);
    else tally.totals.settled += 1;
  }

  /** Counts what is left of the row as missing, or as lost with its host. */
  giveUp(row: OpenRow, as: "missing" | "lost"): void {
    const left = row.assigned - row.settled;
    const { arm, totals } = row.tally;
    if (as === "missing") totals.missing += left;
    if (!arm) return;
    (as === "lost" ? recordLost : recordMissing)(this.ledger, arm, row.instance, row.tick, left);
    for (const [limitMs, n] of Object.entries(row.overdue)) {
      if (n > 0) endOverdue(this.ledger, arm, row.instance, row.tick, Number(limitMs), n);
    }
    row.overdue = {};
  }

  /**
   * Counts a report without an assignment; `tick` is undefined where it came too late to be judged. Answers what it was
   * counted in.
   */
  hold(outcome: Outcome, reporter: string, tick: number | undefined): Pick<OpenRow, "tally" | "cell"> {
    const tally = this.tallyOf(outcome.version);
    tally.totals.assigned += 1;
    countSettled(tally, outcome);
    if (!tally.arm || tick === undefined) return { tally, cell: undefined };
    const cell = this.#cellOf(this.heldLedger(tick), tally.arm, reporter, tick, true);
    assignIn(cell, 1);
    settleIn(cell.ledger, cell, this.#judgedAs(outcome));
    return { tally, cell };
  }

  heldLedger(tick: number): Ledger {
    const found = this.held.get(tick);
    if (found) return found;
    const { alpha, stages } = this.ledger;
    const ledger = newLedger(guardrailsAt(this.ledger, tick), alpha, stages);
    this.held.set(tick, ledger);
    return ledger;
  }

  /** Lets the tick's held reports be judged, and answers them. */
  releaseHeld(tick: number): readonly CountsRow[] {
    const held = this.held.get(tick);
    const rows = held ? rowsOf(held, tick) : [];
    for (const row of rows) addCounts(this.ledger, row);
    this.held.delete(tick);
    return rows;
  }

  /** Ticks with anything in them that is not frozen, ascending. */
  openTicks(): number[] {
    const ticks = new Set([...this.ledger.ticks.map((each) => each.tick), ...this.held.keys(), ...this.open.keys()]);
    return [...ticks].sort((a, b) => a - b);
  }

  freezeThrough(tick: number): void {
    if (this.#candidate === undefined) this.#writeOff(tick);
    freezeThrough(this.ledger, tick);
  }

  /**
   * Which arms a rollout had is not known after a restart, once another has followed it: its runs are settled in the totals
   * alone, and here they stay pending. Nobody judges it any more.
   */
  #writeOff(throughTick: number): void {
    for (const { tick, arms } of this.ledger.ticks) {
      if (tick > throughTick) return;
      for (const arm of ARMS) {
        for (const counts of arms[arm].runtimes) {
          recordMissing(this.ledger, arm, counts.runtime, tick, pendingOf(counts));
        }
      }
    }
  }

  #cellOf(ledger: Ledger, arm: Arm, runtime: string, tick: number, isHeld: boolean): JudgedCell {
    return { rollout: this, arm, ledger, isHeld, ...openCell(ledger, arm, runtime, tick) };
  }

  /** After the rollback writes are blocked, which must not keep recovery from being proven. */
  #judgedAs(outcome: Outcome): Outcome {
    return isRecovery(this.key) ? asRecoveryOutcome(outcome) : outcome;
  }

  #assigned(): { readonly candidate: number; readonly stable: number } {
    const assignedTo = (version: string | undefined) => this.totalsOf(version ?? "")?.assigned ?? 0;
    return { candidate: assignedTo(this.#candidate), stable: assignedTo(this.#target) };
  }

  #armOf(version: string): Arm | undefined {
    if (version === this.#candidate) return "candidate";
    return version === this.#target ? "stable" : undefined;
  }
}

/** Notes that the runs were counted last. */
export function noteRun(tally: Tally, runId: string): void {
  const { lastRunIds } = tally;
  lastRunIds.push(runId);
  // Seldom, because it moves what stays.
  if (lastRunIds.length >= 16 * LAST_RUN_IDS) lastRunIds.splice(0, lastRunIds.length - LAST_RUN_IDS);
}

function countSettled({ totals }: Tally, { status }: Outcome): void {
  totals.settled += 1;
  if (status === "failure" || status === "timeout") totals.failures += 1;
}
