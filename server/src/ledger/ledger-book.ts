/**
 * Every ledger of the server in memory: counts what runtimes report, once, in the tick of the assignment, and says what has
 * to be made durable. No I/O.
 */
import { addCounts, beginStage, beginTick, expectShare, type Ledger, type World, weightOf } from "@flagback/core";
import {
  type Alias,
  type Assignment,
  Outcome,
  type OutcomeBatch,
  type Overdue,
  StreamOutcome,
} from "@flagback/schemas";
import type { LedgerKey, LedgerTotals, LedgerWrites, Loaded, RolloutKey } from "../store/store.ts";
import { type InstanceState, Instances, rowKey } from "./instances.ts";
import { RecentRuns } from "./recent-runs.ts";
import { invalid, type Problem, type Rejection, unreportable } from "./reportable.ts";
import { type OpenRow, RolloutLedger } from "./rollout-ledger.ts";
import type { TickClock } from "./tick-clock.ts";
import { advanceRollout } from "./timeouts.ts";
import { Unwritten } from "./unwritten.ts";

/** Outcomes that may wait to be made durable while the disk refuses them. */
const MAX_UNWRITTEN_OUTCOMES = 1_000_000;

export type BatchResult =
  | {
      readonly kind: "counted";
      readonly rejected: readonly Rejection[];
      /** Of those, what says how a run went that is no longer waited for. */
      readonly late: readonly Outcome[];
      readonly aliases: ReadonlySet<string>;
    }
  | { readonly kind: "repeated" }
  | { readonly kind: "gap"; readonly expected: number }
  /** So much waits to be made durable that nothing more is counted. */
  | { readonly kind: "full" };

/** What became of outcomes that came without an assignment. */
export interface CountedReports {
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejected: readonly Rejection[];
  /** Accepted, and too late to be judged. */
  readonly late: readonly Outcome[];
}

const NO_ASSIGNMENT = "no_assignment";

export class LedgerBook {
  readonly #world: () => World;
  readonly #clock: TickClock;
  readonly #rollouts = new Map<string, RolloutLedger>();
  readonly #instances = new Instances();
  readonly #runs: RecentRuns;
  readonly #maxUnwritten: number;
  #unwritten = new Unwritten();
  /** Handed out by `collect` and not confirmed yet. */
  #inFlight: Unwritten | undefined;

  constructor(parts: {
    readonly world: () => World;
    readonly clock: TickClock;
    readonly loaded: Loaded;
    readonly maxUnwrittenOutcomes?: number;
  }) {
    const { loaded } = parts;
    this.#maxUnwritten = parts.maxUnwrittenOutcomes ?? MAX_UNWRITTEN_OUTCOMES;
    this.#world = parts.world;
    this.#clock = parts.clock;
    this.#runs = new RecentRuns(loaded.runs);
    for (const { ledger, ...key } of loaded.ledgers) this.#add(key, { ...ledger, ticks: [] });
    for (const { version, totals, ...key } of loaded.totals)
      Object.assign(this.#rollout(key).totalsOf(version), totals);
    for (const { row, isHeld, ...key } of loaded.counts) {
      const rollout = this.#rollout(key);
      addCounts(isHeld ? rollout.heldLedger(row.tick) : rollout.ledger, row);
    }
    for (const { instance, tokenId, through, lostSince } of loaded.instances) {
      const state = this.#instances.open(instance, tokenId, this.#clock.startTick);
      Object.assign(state, { through, durableThrough: through, lostSince });
    }
    for (const row of loaded.assignments) {
      const state = this.#instances.find(row.instance);
      if (state) this.#addRow(state, { ...row });
    }
  }

  /** Sequence number of the instance's last durable batch; an unknown instance starts at 0. */
  connected(instance: string, tokenId: string): number {
    const state = this.#instances.open(instance, tokenId, this.#clock.now());
    state.isConnected = true;
    this.#setLostSince(state, null);
    return state.durableThrough;
  }

  /** Its socket has closed; one that died by heartbeat `died` before. */
  disconnected(instance: string): void {
    const state = this.#instances.find(instance);
    if (!state) return;
    state.isConnected = false;
    state.seenTick = this.#clock.now();
  }

  /** Whether the instance is another token's. */
  belongsToOther(instance: string, tokenId: string): boolean {
    const state = this.#instances.find(instance);
    return state !== undefined && state.tokenId !== tokenId;
  }

  /** A socket that died by heartbeat; one that closed leaves its runs to their timeout. */
  died(instance: string): void {
    const state = this.#instances.find(instance);
    if (state) this.#setLostSince(state, this.#clock.now());
  }

  durableThrough(instance: string): number {
    return this.#instances.find(instance)?.durableThrough ?? 0;
  }

  /** Counts one batch of the stream. `mayReport` says which aliases the token may speak of. */
  countBatch(instance: string, batch: OutcomeBatch, mayReport: (alias: string) => boolean): BatchResult {
    const state = this.#instances.find(instance);
    if (!state) return { kind: "gap", expected: 1 };
    if (batch.seq <= state.through) return { kind: "repeated" };
    if (batch.seq !== state.through + 1) return { kind: "gap", expected: state.through + 1 };
    if (this.#unwritten.runs.length >= this.#maxUnwritten) return { kind: "full" };
    const aliases = new Set<string>();
    // The earliest first: where a version is named under two rollouts, all of its runs count in the earlier one.
    for (const assignment of batch.assigned.toSorted((a, b) => a.revision - b.revision)) {
      if (unreportable(assignment, this.#world(), mayReport)) continue;
      this.#assign(state, batch.seq, assignment);
      aliases.add(assignment.alias);
    }
    for (const overdue of batch.overdue ?? []) this.#countOverdue(state, overdue, aliases);
    const rejected: Rejection[] = [];
    const late: Outcome[] = [];
    batch.items.forEach((item, index) => {
      const problem = this.#countItem(state, item, mayReport, aliases);
      if (problem) rejected.push({ index, ...problem });
      // The schema took it, and the token may report it.
      if (problem?.code === NO_ASSIGNMENT) late.push(StreamOutcome.parse(item));
    });
    state.through = batch.seq;
    this.#unwritten.instances.add(state);
    return { kind: "counted", rejected, late, aliases };
  }

  /**
   * Counts outcomes that came without an assignment (HTTP), of one reporter. They are judged once their tick is
   * `outcomeTimeout` old; a report after its tick is frozen is feedback: counted in the totals and shown, not judged.
   */
  countReports(
    items: readonly unknown[],
    reporter: string,
    mayReport: (alias: string) => boolean,
    nowMs: number,
  ): CountedReports {
    let accepted = 0;
    let duplicates = 0;
    const late: Outcome[] = [];
    const rejected: Rejection[] = [];
    items.forEach((item, index) => {
      const parsed = Outcome.safeParse(item);
      const outcome = parsed.data;
      const problem = outcome ? unreportable(outcome, this.#world(), mayReport) : invalidOutcome(parsed.error);
      if (problem || !outcome) rejected.push({ index, ...(problem ?? invalidOutcome(undefined)) });
      else if (this.#runs.has(outcome.alias, outcome.runId)) duplicates += 1;
      else {
        if (this.#hold(outcome, reporter, nowMs) === "late") late.push(outcome);
        accepted += 1;
      }
    });
    return { accepted, duplicates, rejected, late };
  }

  /** The weights of an alias changed: from a tick on, assignments should follow them. */
  weightsChanged(alias: Alias, fromTick: number): void {
    const { rollout } = alias;
    if (!rollout || rollout.state === "promoted") return;
    // Where conversations keep their version, the weight is not the probability of a run's assignment.
    if (rollout.policy.stickiness === "conversation") return;
    const found = this.#rollout({ alias: alias.name, rolloutNumber: rollout.rolloutNumber });
    const arms = weightOf(alias.allocation, rollout.candidate) + weightOf(alias.allocation, rollout.target);
    const share = arms === 0 ? 0 : Math.round((weightOf(alias.allocation, rollout.candidate) * 100_000) / arms);
    expectShare(found.ledger, fromTick, share);
    this.#unwritten.ledgers.add(found);
  }

  /** The rollout has come to a later stage: fresh bets are placed on what the new load may break. */
  stageBegan({ name, rolloutNumber }: Alias): void {
    const rollout = this.#rollout({ alias: name, rolloutNumber });
    beginStage(rollout.ledger, this.#clock.now());
    this.#unwritten.ledgers.add(rollout);
  }

  /** Times out and freezes what is old enough. Answers the aliases whose ledgers changed. */
  advance(): Set<string> {
    const changed = new Set<string>();
    this.#instances.forgetIdle(this.#clock.now());
    const time = {
      clock: this.#clock,
      unwritten: this.#unwritten,
      lostSince: (instance: string) => this.#instances.find(instance)?.lostSince ?? null,
      close: (row: OpenRow) => this.#closeRow(this.#instances.find(row.instance), row),
    };
    for (const [name, rollout] of this.#rollouts) {
      if (advanceRollout(rollout, time)) changed.add(rollout.key.alias);
      const current = this.#world().aliases.get(rollout.key.alias)?.rolloutNumber;
      const isOver = current !== undefined && rollout.key.rolloutNumber < current;
      if (isOver && rollout.openTicks().length === 0 && this.#unwritten.isEmpty()) this.#rollouts.delete(name);
    }
    return changed;
  }

  /** The ledger of a rollout as of now, if anything was assigned in it. Callers must not change it. */
  ledgerOf(key: RolloutKey): Ledger | undefined {
    const rollout = this.#rollouts.get(nameOf(key));
    if (!rollout) return undefined;
    const now = this.#clock.now();
    // What compares the arms waits until a tick takes no more assignments.
    beginTick(rollout.ledger, now);
    rollout.lookedThroughTick = now - 1;
    return rollout.ledger;
  }

  /** Whether a tick with runs was closed since somebody looked: its arms can be compared now. */
  hasNewlyClosed(key: RolloutKey): boolean {
    const rollout = this.#rollouts.get(nameOf(key));
    const now = this.#clock.now();
    const closed = rollout?.ledger.ticks.findLast((each) => each.tick < now);
    return rollout !== undefined && closed !== undefined && closed.tick > rollout.lookedThroughTick;
  }

  totalsOf({ version, ...key }: LedgerKey): LedgerTotals {
    return this.#rollouts.get(nameOf(key))?.totals.get(version) ?? { assigned: 0, settled: 0, missing: 0, failures: 0 };
  }

  /** When the last outcome of the candidate came, on the monotonic clock; the server's start where none came since. */
  lastOutcomeMs(key: RolloutKey): number {
    return this.#rollouts.get(nameOf(key))?.lastCandidateOutcomeMs ?? this.#clock.startedMs;
  }

  lastRunIds(key: LedgerKey): string[] {
    return this.#runs.lastOf(key);
  }

  hasUnwritten(): boolean {
    return !this.#unwritten.isEmpty();
  }

  /** What changed since the last call. Say `confirm` when it is durable, or `restore` when it is not. */
  collect(): LedgerWrites {
    const writes = this.#unwritten.writes(this.#clock.now());
    this.#inFlight = this.#unwritten;
    this.#unwritten = new Unwritten();
    return writes;
  }

  confirm(writes: LedgerWrites): void {
    this.#inFlight = undefined;
    for (const { instance, through } of writes.instances) {
      const state = this.#instances.find(instance);
      if (state) state.durableThrough = Math.max(state.durableThrough, through);
    }
  }

  /** Marks again what could not be written. */
  restore(): void {
    if (this.#inFlight) this.#unwritten.addEarlier(this.#inFlight);
    this.#inFlight = undefined;
  }

  /** Durable where the instance has runs open, because a restart must not turn a lost host into evidence. */
  #setLostSince(state: InstanceState, tick: number | null): void {
    if (state.lostSince === tick) return;
    state.lostSince = tick;
    if (state.through > 0) this.#unwritten.instances.add(state);
  }

  #assign(state: InstanceState, seq: number, { alias, version, revision, n }: Assignment): void {
    // Outcomes name the batch and the version, so that the runs of both can't be told apart.
    const before = state.rows.get(rowKey({ seq, alias, version }));
    const rollout = this.#rollout(before ?? { alias, rolloutNumber: this.#rolloutNumberAt(alias, revision) });
    const row: OpenRow = {
      instance: state.instance,
      seq,
      alias,
      version,
      rolloutNumber: rollout.key.rolloutNumber,
      tick: this.#clock.now(),
      assigned: n,
      settled: 0,
      overdue: {},
    };
    if (before) before.assigned += n;
    else this.#addRow(state, row);
    const target = before ?? row;
    rollout.assign(target, n);
    this.#unwritten.rows.add(target);
    this.#unwritten.touch(rollout, version, target.tick, state.instance);
  }

  #countOverdue(
    state: InstanceState,
    { assignedSeq, alias, version, limitMs, n }: Overdue,
    aliases: Set<string>,
  ): void {
    const row = state.rows.get(rowKey({ seq: assignedSeq, alias, version }));
    if (!row) return;
    const rollout = this.#rollout(row);
    rollout.overdue(row, limitMs, n);
    this.#unwritten.rows.add(row);
    this.#unwritten.touch(rollout, version, row.tick, state.instance);
    aliases.add(alias);
  }

  #countItem(
    state: InstanceState,
    item: unknown,
    mayReport: (alias: string) => boolean,
    aliases: Set<string>,
  ): Problem | undefined {
    const parsed = StreamOutcome.safeParse(item);
    const row = state.rows.get(rowKey(named(item)));
    const problem = parsed.success ? this.#uncountable(parsed.data, row, mayReport) : invalidOutcome(parsed.error);
    // The run did end: a report that can't be counted must not leave it to go missing, which would be bad. But the same
    // report once more says nothing of another run.
    const isRepeat = parsed.success && this.#runs.reporterOf(parsed.data.alias, parsed.data.runId) === state.instance;
    if (row && problem && !isRepeat) this.#settle(state, row, null, aliases);
    if (problem || !parsed.data || !row) return problem;
    const { assignedSeq: _, overdueLimitsMs, ...outcome } = parsed.data;
    this.#settle(state, row, outcome, aliases, overdueLimitsMs);
    return undefined;
  }

  #uncountable(
    outcome: StreamOutcome,
    row: OpenRow | undefined,
    mayReport: (alias: string) => boolean,
  ): Problem | undefined {
    const problem = unreportable(outcome, this.#world(), mayReport);
    if (problem) return problem;
    if (this.#runs.has(outcome.alias, outcome.runId)) {
      return {
        code: "duplicate",
        message: `an outcome of run ${outcome.runId} on ${outcome.alias} is counted already`,
      };
    }
    if (row) return undefined;
    return {
      code: NO_ASSIGNMENT,
      message: `batch ${outcome.assignedSeq} has no open assignment of ${outcome.version}: never announced, settled already, or timed out`,
    };
  }

  #settle(
    state: InstanceState,
    row: OpenRow,
    outcome: Outcome | null,
    aliases: Set<string>,
    overdueLimitsMs: readonly number[] = [],
  ): void {
    const rollout = this.#rollout(row);
    rollout.settle(row, outcome, overdueLimitsMs);
    if (outcome) this.#remember(rollout, outcome, state.instance);
    if (row.settled === row.assigned) this.#closeRow(state, row);
    else this.#unwritten.rows.add(row);
    this.#unwritten.touch(rollout, row.version, row.tick, state.instance);
    aliases.add(row.alias);
  }

  #hold(outcome: Outcome, reporter: string, nowMs: number): "held" | "late" {
    const rollout = this.#current(outcome.alias);
    const startedMs = outcome.startedAt ? Date.parse(outcome.startedAt) : nowMs - (outcome.durationMs ?? 0);
    const tick = this.#clock.tickAgo(Math.max(0, nowMs - startedMs));
    const isLate = tick <= rollout.ledger.prefix.throughTick || this.#clock.isTimedOut(tick, rollout.timeoutTicks);
    rollout.hold(outcome, reporter, isLate ? undefined : tick);
    this.#remember(rollout, outcome, reporter);
    if (isLate) this.#unwritten.touchTotals(rollout, outcome.version);
    else this.#unwritten.touch(rollout, outcome.version, tick, reporter, true);
    return isLate ? "late" : "held";
  }

  #remember(rollout: RolloutLedger, { runId, version }: Outcome, reporter: string): void {
    if (rollout.armOf(version) === "candidate") rollout.lastCandidateOutcomeMs = this.#clock.monotonicMs();
    const run = { ...rollout.key, version, runId };
    this.#runs.add(run, reporter);
    this.#unwritten.runs.push(run);
  }

  /** The rollout that an assignment was made under: one from before the current rollout's start is no evidence in it. */
  #rolloutNumberAt(alias: string, revision: number): number {
    const { rolloutNumber = 0, rollout = null } = this.#world().aliases.get(alias) ?? {};
    const isEarlier = rollout !== null && revision < (rollout.startRevision ?? 0);
    return isEarlier ? rolloutNumber - 1 : rolloutNumber;
  }

  /** Where assignments that come now are counted. */
  #current(alias: string): RolloutLedger {
    return this.#rollout({ alias, rolloutNumber: this.#world().aliases.get(alias)?.rolloutNumber ?? 0 });
  }

  #rollout({ alias, rolloutNumber }: RolloutKey): RolloutLedger {
    const key = { alias, rolloutNumber };
    const found = this.#rollouts.get(nameOf(key));
    if (found) return found;
    const made = this.#add(key);
    this.#unwritten.ledgers.add(made);
    return made;
  }

  #add(key: RolloutKey, ledger?: Ledger): RolloutLedger {
    const rollout = new RolloutLedger(this.#world().aliases.get(key.alias), key, ledger);
    this.#rollouts.set(nameOf(key), rollout);
    return rollout;
  }

  #addRow(state: InstanceState, row: OpenRow): void {
    state.rows.set(rowKey(row), row);
    this.#rollout(row).addOpen(row);
  }

  #closeRow(state: InstanceState | undefined, row: OpenRow): void {
    state?.rows.delete(rowKey(row));
    this.#rollout(row).removeOpen(row);
    this.#unwritten.rows.delete(row);
    this.#unwritten.closeRow(row);
  }
}

/** What an item that the schema refused says of its assignment, as far as it can be read. */
function named(item: unknown): { readonly seq: number; readonly alias: string; readonly version: string } {
  const { assignedSeq, alias, version } = (typeof item === "object" && item !== null ? item : {}) as Record<
    string,
    unknown
  >;
  return { seq: Number(assignedSeq), alias: String(alias), version: String(version) };
}

function nameOf({ alias, rolloutNumber }: RolloutKey): string {
  return `${alias} ${rolloutNumber}`;
}

function invalidOutcome(error: { readonly issues: Parameters<typeof invalid>[1][] } | undefined): Problem {
  return invalid("outcome_invalid", error?.issues[0]);
}
