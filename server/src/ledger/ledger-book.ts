/**
 * Every ledger of the server in memory: counts what runtimes report, once, in the tick of the assignment, and says what has
 * to be made durable. No I/O.
 */
import {
  beginStage,
  beginTick,
  expectShare,
  type Ledger,
  type TrafficFact,
  type World,
  weightOf,
} from "@flagback/core";
import { type Alias, type Observed, Outcome, SyntheticOutcome } from "@flagback/schemas";
import {
  type LedgerKey,
  type LedgerTotals,
  type LedgerWrites,
  type RolloutKey,
  recoveryKey,
} from "../store/ledger-writes.ts";
import type { Loaded } from "../store/store.ts";
import { type Counting, closeRow, noteOutcome, rolloutOf } from "./counting.ts";
import { type InstanceState, Instances } from "./instances.ts";
import { loadLedger } from "./load-ledger.ts";
import { checkRunId, RecentRuns } from "./recent-runs.ts";
import { type Rejection, refusals, unreportable } from "./reportable.ts";
import { ReportedOutcomes } from "./reported-outcomes.ts";
import type { RolloutLedger } from "./rollout-ledger.ts";
import { Rollouts } from "./rollouts.ts";
import { type CountedBatch, countBatch, type ReadBatch } from "./stream-counter.ts";
import type { TickClock } from "./tick-clock.ts";
import { advanceRollout, loseOpen, type Passing } from "./timeouts.ts";
import { Unwritten } from "./unwritten.ts";

/** Outcomes that may wait to be made durable while the disk refuses them. */
const MAX_UNWRITTEN_OUTCOMES = 1_000_000;

export type BatchResult =
  | CountedBatch
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
  /** Accepted, and not counted here: they are no runs. */
  readonly checks: readonly Outcome[];
}

export class LedgerBook {
  readonly #counting: Counting;
  readonly #clock: TickClock;
  readonly #instances = new Instances();
  readonly #maxUnwritten: number;
  /** Handed out by `collect` and not confirmed yet. */
  #inFlight: Unwritten | undefined;

  constructor(parts: {
    readonly world: () => World;
    readonly clock: TickClock;
    readonly loaded: Loaded;
    readonly maxUnwrittenOutcomes?: number;
  }) {
    const { world, clock } = parts;
    this.#maxUnwritten = parts.maxUnwrittenOutcomes ?? MAX_UNWRITTEN_OUTCOMES;
    this.#clock = clock;
    this.#counting = {
      world,
      clock,
      rollouts: new Rollouts(world),
      runs: new RecentRuns(),
      reported: new ReportedOutcomes(),
      unwritten: new Unwritten(),
    };
    loadLedger(this.#counting, this.#instances, parts.loaded);
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

  /** Runs that are open now went on in a history that is gone: they count neither for nor against their version. */
  loseOpen(): void {
    for (const rollout of this.#counting.rollouts.all()) loseOpen(rollout, this.#passing());
  }

  durableThrough(instance: string): number {
    return this.#instances.find(instance)?.durableThrough ?? 0;
  }

  /** Counts one batch of the stream. `mayReport` says which aliases the token may speak of. */
  countBatch(instance: string, batch: ReadBatch, mayReport: (alias: string) => boolean): BatchResult {
    const state = this.#instances.find(instance);
    if (!state) return { kind: "gap", expected: 1 };
    if (batch.seq <= state.through) return { kind: "repeated" };
    if (batch.seq !== state.through + 1) return { kind: "gap", expected: state.through + 1 };
    if (this.#counting.unwritten.runs >= this.#maxUnwritten) return { kind: "full" };
    const counted = countBatch(this.#counting, state, batch, mayReport);
    state.through = batch.seq;
    const { unwritten } = this.#counting;
    if (unwritten.instances.items.length === 0) unwritten.sinceMs = counted.arrivedMs;
    unwritten.instances.add(state);
    return counted;
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
    const checks: Outcome[] = [];
    const rejected: Rejection[] = [];
    const refusal = refusals("outcome_invalid");
    items.forEach((item, index) => {
      const isCheck = (item as { readonly source?: unknown } | null)?.source === "synthetic";
      const parsed = isCheck ? SyntheticOutcome.safeParse(item) : Outcome.safeParse(item);
      if (!parsed.success) {
        rejected.push({ index, ...refusal(parsed) });
        return;
      }
      const outcome = parsed.data;
      const problem = unreportable(outcome, this.#counting.world(), mayReport);
      if (problem) rejected.push({ index, ...problem });
      else if (!this.#counting.runs.add(outcome.alias, isCheck ? checkRunId(outcome.runId) : outcome.runId, reporter))
        duplicates += 1;
      else {
        if (isCheck) checks.push(outcome);
        else if (this.#hold(outcome, reporter, nowMs) === "late") late.push(outcome);
        accepted += 1;
      }
    });
    return { accepted, duplicates, rejected, late, checks };
  }

  /** The weights of an alias changed: from a tick on, assignments should follow them. */
  weightsChanged(alias: Alias, fromTick: number): void {
    const { rollout } = alias;
    if (!rollout || rollout.state === "promoted") return;
    // Where conversations keep their version, the weight is not the probability of a run's assignment.
    if (rollout.policy.stickiness === "conversation") return;
    const found = rolloutOf(this.#counting, { alias: alias.name, rolloutNumber: rollout.rolloutNumber });
    const arms = weightOf(alias.allocation, rollout.candidate) + weightOf(alias.allocation, rollout.target);
    const share = arms === 0 ? 0 : Math.round((weightOf(alias.allocation, rollout.candidate) * 100_000) / arms);
    expectShare(found.ledger, fromTick, share);
    this.#counting.unwritten.ledgers.add(found);
  }

  /** The rollout has come to a later stage: fresh bets are placed on what the new load may break. */
  stageBegan({ name, rolloutNumber }: Alias): void {
    const rollout = rolloutOf(this.#counting, { alias: name, rolloutNumber });
    const begun = this.#counting.world().aliases.get(name)?.rollout;
    if (begun) {
      rollout.stageBegan(begun.stage);
      // From the next tick on, because this one has runs of the stage before.
      rollout.judgeBy(begun.policy, begun.stage, this.#clock.now() + 1);
    }
    beginStage(rollout.ledger, this.#clock.now());
    this.#counting.unwritten.ledgers.add(rollout);
  }

  /** Times out and freezes what is old enough. Answers the aliases whose ledgers changed. */
  advance(): Set<string> {
    const changed = new Set<string>();
    this.#instances.forgetIdle(this.#clock.now());
    const { rollouts, unwritten } = this.#counting;
    const time = this.#passing();
    for (const rollout of rollouts.all()) if (advanceRollout(rollout, time)) changed.add(rollout.key.alias);
    const over = rollouts.all().filter((rollout) => this.#isOver(rollout) && rollout.openTicks().length === 0);
    const waiting = over.length === 0 ? new Set() : unwritten.rollouts();
    for (const rollout of over) if (!waiting.has(rollout)) rollouts.remove(rollout.key);
    return changed;
  }

  /** The ledger of a rollout as of now, if anything was assigned in it. Callers must not change it. */
  ledgerOf(key: RolloutKey): Ledger | undefined {
    const rollout = this.#find(key);
    if (!rollout) return undefined;
    const now = this.#clock.now();
    // What compares the arms waits until a tick takes no more assignments.
    beginTick(rollout.ledger, now);
    rollout.lookedThroughTick = now - 1;
    return rollout.ledger;
  }

  /** Whether a tick with runs was closed since somebody looked: its arms can be compared now. */
  hasNewlyClosed(key: RolloutKey): boolean {
    const rollout = this.#find(key);
    const now = this.#clock.now();
    const closed = rollout?.ledger.ticks.findLast((each) => each.tick < now);
    return rollout !== undefined && closed !== undefined && closed.tick > rollout.lookedThroughTick;
  }

  totalsOf({ version, ...key }: LedgerKey): LedgerTotals {
    return this.#find(key)?.totalsOf(version) ?? { assigned: 0, settled: 0, missing: 0, failures: 0 };
  }

  /** How the alias's runs are reported: since the start, and in a rollout with the recovery after it. */
  trafficOf(key: RolloutKey): TrafficFact {
    const found = [this.#find(key), this.#find(recoveryKey(key))].filter((each) => each !== undefined);
    const totals = found.flatMap((rollout) => [...rollout.totals().values()]);
    const sum = (of: keyof LedgerTotals) => totals.reduce((total, each) => total + each[of], 0);
    const lastMs = Math.max(...found.map((rollout) => rollout.lastOutcomeMs ?? Number.NEGATIVE_INFINITY));
    return {
      reported: this.#counting.reported.totalOf(key.alias),
      observedMs: this.upMs(),
      lastOutcomeAgoMs: Number.isFinite(lastMs) ? this.#clock.monotonicMs() - lastMs : null,
      assigned: sum("assigned"),
      settled: sum("settled"),
      missing: sum("missing"),
    };
  }

  /** Numbers of an alias's rollouts that may have runs open, or counts that are not durable yet. */
  openRollouts(alias: string): number[] {
    return this.#counting.rollouts.numbersOf(alias);
  }

  /** When the last outcome of the candidate came, on the monotonic clock; the server's start where none came since. */
  lastOutcomeMs(key: RolloutKey): number {
    return this.#find(key)?.lastCandidateOutcomeMs ?? this.#clock.startedMs;
  }

  /** Ticks since the last run of the candidate began, as far as this start has seen any. */
  ticksWithoutCandidate(key: RolloutKey): number {
    return this.#clock.now() - (this.#find(key)?.lastCandidateTick ?? Number.NEGATIVE_INFINITY);
  }

  /** How long this server has counted. */
  upMs(): number {
    return this.#clock.monotonicMs() - this.#clock.startedMs;
  }

  /** What an incident keeps of a rollout that had runs. */
  observedOf(key: RolloutKey): Observed | undefined {
    return this.#find(key)?.observed();
  }

  lastRunIds({ version, ...key }: LedgerKey): string[] {
    return this.#find(key)?.lastRunIds(version) ?? [];
  }

  /** How outcomes ended, by version, since the start. */
  get reported(): Pick<ReportedOutcomes, "all"> {
    return this.#counting.reported;
  }

  hasUnwritten(): boolean {
    return !this.#counting.unwritten.isEmpty();
  }

  /** Outcomes that are counted and not handed to the store yet. */
  get unwrittenOutcomes(): number {
    return this.#counting.unwritten.runs;
  }

  /** What changed since the last call. Say `confirm` when it is durable, or `restore` when it is not. */
  collect(): LedgerWrites {
    const collected = this.#counting.unwritten;
    this.#counting.unwritten = new Unwritten();
    this.#inFlight = collected;
    return collected.writes(this.#clock.now());
  }

  /** Answers how long the oldest batch of it had to wait, in milliseconds. */
  confirm(writes: LedgerWrites): number {
    const sinceMs = this.#inFlight?.sinceMs ?? Number.POSITIVE_INFINITY;
    this.#inFlight = undefined;
    for (const { instance, through } of writes.instances) {
      const state = this.#instances.find(instance);
      if (!state) continue;
      state.durableThrough = Math.max(state.durableThrough, through);
      state.refused = 0;
    }
    return Math.max(0, this.#clock.monotonicMs() - sinceMs);
  }

  /** Marks again what could not be written. */
  restore(): void {
    if (this.#inFlight) this.#counting.unwritten.addEarlier(this.#inFlight);
    this.#inFlight = undefined;
  }

  #isOver({ key: { alias, rolloutNumber } }: RolloutLedger): boolean {
    const current = this.#counting.world().aliases.get(alias)?.rolloutNumber;
    // Of an alias that was removed everything is over.
    return current === undefined || Math.abs(rolloutNumber) < current;
  }

  #passing(): Passing {
    return {
      clock: this.#clock,
      unwritten: this.#counting.unwritten,
      lostSince: (instance) => this.#instances.find(instance)?.lostSince ?? null,
      close: (row) => closeRow(this.#counting, this.#instances.find(row.instance), row),
    };
  }

  /** Durable where the instance has runs open, because a restart must not turn a lost host into evidence. */
  #setLostSince(state: InstanceState, tick: number | null): void {
    if (state.lostSince === tick) return;
    state.lostSince = tick;
    if (state.through > 0) this.#counting.unwritten.instances.add(state);
  }

  #hold(outcome: Outcome, reporter: string, nowMs: number): "held" | "late" {
    const startedMs = outcome.startedAt ? Date.parse(outcome.startedAt) : nowMs - (outcome.durationMs ?? 0);
    const rollout = rolloutOf(this.#counting, this.#keyAt(outcome, startedMs));
    const tick = this.#clock.tickAgo(Math.max(0, nowMs - startedMs));
    const isLate = tick <= rollout.ledger.prefix.throughTick || this.#clock.isTimedOut(tick, rollout.timeoutTicks);
    if (rollout.tallyOf(outcome.version).arm === "candidate") rollout.sawCandidate(tick);
    const counted = rollout.hold(outcome, reporter, isLate ? undefined : tick);
    noteOutcome(this.#counting, counted.tally, outcome, this.#clock.monotonicMs());
    this.#counting.unwritten.touch(counted);
    return isLate ? "late" : "held";
  }

  /** Without an assignment, a run's start says whether it belongs to the recovery. Such doors bound no candidate's end. */
  #keyAt({ alias: name, version }: Outcome, startedMs: number): RolloutKey {
    const alias = this.#counting.world().aliases.get(name);
    const key = { alias: name, rolloutNumber: alias?.rolloutNumber ?? 0 };
    const { rollout } = alias ?? {};
    const isRolledBack = rollout?.endRevision !== undefined && rollout.endedAt !== undefined;
    const isAfter = isRolledBack && startedMs >= Date.parse(rollout.endedAt ?? "");
    return isAfter && version === rollout.target ? recoveryKey(key) : key;
  }

  #find(key: RolloutKey): RolloutLedger | undefined {
    return this.#counting.rollouts.find(key);
  }
}
