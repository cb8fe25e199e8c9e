/**
 * Every ledger of the server in memory: counts what runtimes report, once, in the tick of the assignment, and says what has
 * to be made durable. No I/O.
 */
import {
  addCounts,
  compileGuardrails,
  freezeThrough,
  type Ledger,
  newLedger,
  pendingOf,
  recordAssigned,
  recordLost,
  recordMissing,
  recordOutcome,
  type TickCounts,
  type World,
} from "@flagback/core";
import { durationMs, Outcome, type OutcomeBatch, StreamOutcome } from "@flagback/schemas";
import type { AssignmentRow, LedgerKey, LedgerTotals, LedgerWrites, Loaded, RunRow } from "../store/store.ts";
import { RecentRuns } from "./recent-runs.ts";
import { TICK_MS, type TickClock } from "./tick-clock.ts";

/** An instance that vanished without closing its socket keeps its runs pending for so long; then they are lost, not bad. */
const LOST_INSTANCE_TICKS = 600;
const DEFAULT_OUTCOME_TIMEOUT_MS = 60_000;

/** An outcome that was not counted, and why. */
export interface Rejection {
  readonly index: number;
  readonly code: string;
  readonly message: string;
}

export type BatchResult =
  | { readonly kind: "counted"; readonly rejected: readonly Rejection[]; readonly aliases: ReadonlySet<string> }
  | { readonly kind: "repeated" }
  | { readonly kind: "gap"; readonly expected: number };

interface Entry extends LedgerKey {
  readonly ledger: Ledger;
  readonly timeoutTicks: number;
  readonly totals: { -readonly [Name in keyof LedgerTotals]: LedgerTotals[Name] };
  /** Assignments that are open, by the tick they were registered in. */
  readonly open: Map<number, Set<Row>>;
  /** Outcomes without a registered assignment, judged once their tick is `outcomeTimeout` old. */
  readonly held: Map<number, Ledger>;
}

interface Row extends AssignmentRow {
  settled: number;
  readonly entry: Entry;
}

interface InstanceState {
  readonly instance: string;
  readonly tokenId: string;
  /** Last batch counted in memory. */
  through: number;
  /** Last batch counted durably. */
  durableThrough: number;
  readonly rows: Map<string, Row>;
  /** Tick at which its socket died in silence. */
  lostSince: number | null;
}

export class LedgerBook {
  readonly #world: () => World;
  readonly #clock: TickClock;
  readonly #entries = new Map<string, Entry>();
  readonly #instances = new Map<string, InstanceState>();
  readonly #runs: RecentRuns;
  #dirty = emptyDirty();

  constructor(parts: { readonly world: () => World; readonly clock: TickClock; readonly loaded: Loaded }) {
    this.#world = parts.world;
    this.#clock = parts.clock;
    this.#runs = new RecentRuns(parts.loaded.runs);
    for (const row of parts.loaded.ledgers) {
      const entry = this.#newEntry(row, { ...row.ledger, ticks: [...row.open] }, { ...row.totals });
      for (const counts of row.held) addCounts(this.#heldLedger(entry, counts.tick), counts);
    }
    for (const row of parts.loaded.instances) this.#instance(row.instance, row.tokenId).through = row.through;
    for (const state of this.#instances.values()) state.durableThrough = state.through;
    for (const row of parts.loaded.assignments) {
      const state = this.#instances.get(row.instance);
      const entry = this.#entries.get(keyOf(row));
      if (state && entry) this.#addRow(state, { ...row, entry });
    }
  }

  /** Sequence number of the instance's last durable batch. @throws never; an unknown instance starts at 0. */
  connected(instance: string, tokenId: string): number {
    const state = this.#instance(instance, tokenId);
    state.lostSince = null;
    return state.durableThrough;
  }

  /** Whether the instance is another token's. */
  belongsToOther(instance: string, tokenId: string): boolean {
    const state = this.#instances.get(instance);
    return state !== undefined && state.tokenId !== tokenId;
  }

  /** A socket that died by heartbeat; one that closed leaves its runs to their timeout. */
  died(instance: string): void {
    const state = this.#instances.get(instance);
    if (state) state.lostSince = this.#clock.now();
  }

  durableThrough(instance: string): number {
    return this.#instances.get(instance)?.durableThrough ?? 0;
  }

  /** Counts one batch of the stream. `mayReport` says which aliases the token may speak of. */
  countBatch(instance: string, batch: OutcomeBatch, mayReport: (alias: string) => boolean): BatchResult {
    const state = this.#instances.get(instance);
    if (!state) return { kind: "gap", expected: 1 };
    if (batch.seq <= state.through) return { kind: "repeated" };
    if (batch.seq !== state.through + 1) return { kind: "gap", expected: state.through + 1 };
    const aliases = new Set<string>();
    for (const { alias, version, n } of batch.assigned) {
      if (!mayReport(alias) || this.#unknown(alias, version)) continue;
      this.#assign(state, batch.seq, alias, version, n);
      aliases.add(alias);
    }
    const rejected: Rejection[] = [];
    batch.items.forEach((item, index) => {
      const problem = this.#countItem(state, item, mayReport, aliases);
      if (problem) rejected.push({ index, ...problem });
    });
    state.through = batch.seq;
    this.#dirty.instances.add(state);
    return { kind: "counted", rejected, aliases };
  }

  /** Counts outcomes that came without an assignment (HTTP). They are judged once their tick is `outcomeTimeout` old. */
  countReports(
    items: readonly unknown[],
    mayReport: (alias: string) => boolean,
    nowMs: number,
  ): { readonly accepted: number; readonly duplicates: number; readonly rejected: Rejection[] } {
    let accepted = 0;
    let duplicates = 0;
    const rejected: Rejection[] = [];
    items.forEach((item, index) => {
      const parsed = Outcome.safeParse(item);
      if (!parsed.success) {
        rejected.push({ index, ...invalid(parsed.error.issues[0]) });
        return;
      }
      const outcome = parsed.data;
      const problem = mayReport(outcome.alias)
        ? this.#unknown(outcome.alias, outcome.version)
        : forbiddenAlias(outcome.alias);
      if (problem) rejected.push({ index, ...problem });
      else if (this.#runs.has(outcome.alias, outcome.runId)) duplicates += 1;
      else {
        this.#hold(outcome, nowMs);
        accepted += 1;
      }
    });
    return { accepted, duplicates, rejected };
  }

  /** Times out and freezes what is old enough. Answers the aliases whose ledgers changed. */
  advance(): Set<string> {
    const changed = new Set<string>();
    for (const entry of this.#entries.values()) {
      if (this.#advanceEntry(entry)) changed.add(entry.alias);
    }
    return changed;
  }

  /** The ledger of a version in a rollout, if anything was assigned to it. Callers must not change it. */
  ledgerOf(key: LedgerKey): Ledger | undefined {
    return this.#entries.get(keyOf(key))?.ledger;
  }

  totalsOf(key: LedgerKey): LedgerTotals {
    return this.#entries.get(keyOf(key))?.totals ?? { assigned: 0, settled: 0, missing: 0, failures: 0 };
  }

  lastRunIds(key: LedgerKey): string[] {
    return this.#runs.lastOf(key);
  }

  /** What changed since the last call. Hand it to `confirm` when it is durable, or to `restore` when it is not. */
  collect(): LedgerWrites {
    const dirty = this.#dirty;
    this.#dirty = emptyDirty();
    return {
      instances: [...dirty.instances].map(({ instance, tokenId, through }) => ({ instance, tokenId, through })),
      assignments: [...dirty.rows].filter((row) => row.settled < row.assigned).map(({ entry, ...row }) => row),
      closedAssignments: [...dirty.closedRows],
      ticks: [...ticksToWrite(dirty.ticks, false), ...ticksToWrite(dirty.heldTicks, true)],
      closedHeldTicks: [...dirty.closedHeldTicks],
      ledgers: [...dirty.entries].map((entry) => ({
        ...keyOnly(entry),
        ledger: entry.ledger,
        totals: { ...entry.totals },
      })),
      runs: dirty.runs,
      tick: this.#clock.now(),
    };
  }

  confirm(writes: LedgerWrites): void {
    for (const { instance, through } of writes.instances) {
      const state = this.#instances.get(instance);
      if (state) state.durableThrough = Math.max(state.durableThrough, through);
    }
  }

  /** Marks again what could not be written. */
  restore(writes: LedgerWrites): void {
    for (const { instance } of writes.instances) {
      const state = this.#instances.get(instance);
      if (state) this.#dirty.instances.add(state);
    }
    for (const row of writes.assignments) {
      const open = this.#instances.get(row.instance)?.rows.get(rowKey(row));
      if (open) this.#dirty.rows.add(open);
    }
    for (const row of writes.closedAssignments) this.#dirty.closedRows.add(row);
    for (const row of writes.ticks) {
      const entry = this.#entries.get(keyOf(row));
      const dirty = row.held ? this.#dirty.heldTicks : this.#dirty.ticks;
      if (entry) dirty.set(entry, (dirty.get(entry) ?? new Map()).set(row.counts.tick, row.counts));
    }
    for (const row of writes.closedHeldTicks) this.#dirty.closedHeldTicks.add(row);
    for (const row of writes.ledgers) {
      const entry = this.#entries.get(keyOf(row));
      if (entry) this.#dirty.entries.add(entry);
    }
    this.#dirty.runs.unshift(...writes.runs);
  }

  hasUnwritten(): boolean {
    const { instances, entries, closedRows, runs } = this.#dirty;
    return instances.size + entries.size + closedRows.size + runs.length > 0;
  }

  #assign(state: InstanceState, seq: number, alias: string, version: string, n: number): void {
    const entry = this.#entry(alias, version);
    const tick = this.#clock.now();
    recordAssigned(entry.ledger, tick, n);
    entry.totals.assigned += n;
    const key = { instance: state.instance, seq, alias, version };
    const before = state.rows.get(rowKey(key));
    // One batch may name a version twice, under two revisions.
    const row: Row = {
      ...key,
      rolloutNumber: entry.rolloutNumber,
      tick,
      assigned: n + (before?.assigned ?? 0),
      settled: before?.settled ?? 0,
      entry,
    };
    if (before) this.#dropRow(state, before);
    this.#addRow(state, row);
    this.#dirty.rows.add(row);
    this.#touch(entry, tick, false);
  }

  #countItem(
    state: InstanceState,
    item: unknown,
    mayReport: (alias: string) => boolean,
    aliases: Set<string>,
  ): Omit<Rejection, "index"> | undefined {
    const parsed = StreamOutcome.safeParse(item);
    if (!parsed.success) return invalid(parsed.error.issues[0]);
    const { assignedSeq, ...outcome } = parsed.data;
    if (!mayReport(outcome.alias)) return forbiddenAlias(outcome.alias);
    const unknown = this.#unknown(outcome.alias, outcome.version);
    if (unknown) return unknown;
    if (this.#runs.has(outcome.alias, outcome.runId)) {
      return {
        code: "duplicate",
        message: `an outcome of run ${outcome.runId} on ${outcome.alias} is counted already`,
      };
    }
    const row = state.rows.get(rowKey({ seq: assignedSeq, alias: outcome.alias, version: outcome.version }));
    if (!row || row.settled >= row.assigned) {
      return {
        code: "no_assignment",
        message: `batch ${assignedSeq} has no open assignment of ${outcome.version}: never announced, settled already, or timed out`,
      };
    }
    const { entry } = row;
    recordOutcome(entry.ledger, row.tick, outcome);
    row.settled += 1;
    this.#settled(entry, outcome);
    if (row.settled === row.assigned) this.#closeRow(state, row);
    else this.#dirty.rows.add(row);
    this.#touch(entry, row.tick, false);
    aliases.add(entry.alias);
    return undefined;
  }

  #hold(outcome: Outcome, nowMs: number): void {
    const entry = this.#entry(outcome.alias, outcome.version);
    const startedMs = outcome.startedAt ? Date.parse(outcome.startedAt) : nowMs - (outcome.durationMs ?? 0);
    const wanted = this.#clock.tickAgo(Math.max(0, nowMs - startedMs));
    // A report after its tick is frozen is feedback: kept as a run, not judged.
    this.#settled(entry, outcome);
    entry.totals.assigned += 1;
    this.#dirty.entries.add(entry);
    if (wanted <= entry.ledger.prefix.throughTick || this.#clock.isTimedOut(wanted, entry.timeoutTicks)) return;
    const held = this.#heldLedger(entry, wanted);
    recordAssigned(held, wanted, 1);
    recordOutcome(held, wanted, outcome);
    this.#touch(entry, wanted, true);
  }

  #settled(entry: Entry, outcome: Outcome): void {
    entry.totals.settled += 1;
    if (outcome.status === "failure" || outcome.status === "timeout") entry.totals.failures += 1;
    const run: RunRow = { ...keyOnly(entry), runId: outcome.runId };
    this.#runs.add(run);
    this.#dirty.runs.push(run);
  }

  #advanceEntry(entry: Entry): boolean {
    let frozen = -1;
    const ticks = [...new Set([...entry.ledger.ticks.map((counts) => counts.tick), ...entry.held.keys()])].sort(
      (a, b) => a - b,
    );
    let changed = false;
    for (const tick of ticks) {
      if (!this.#clock.isTimedOut(tick, entry.timeoutTicks)) break;
      changed = this.#settleOverdue(entry, tick) || changed;
      changed = this.#releaseHeld(entry, tick) || changed;
      const counts = countsAt(entry.ledger, tick);
      if (counts && pendingOf(counts) > 0) break;
      frozen = tick;
    }
    if (frozen >= 0) {
      freezeThrough(entry.ledger, frozen);
      this.#dirty.entries.add(entry);
    }
    return changed || frozen >= 0;
  }

  /** Runs whose time is up: missing, or lost where their host vanished long ago; pending while it may come back. */
  #settleOverdue(entry: Entry, tick: number): boolean {
    let changed = false;
    for (const row of [...(entry.open.get(tick) ?? [])]) {
      const state = this.#instances.get(row.instance);
      const lostSince = state?.lostSince ?? null;
      const overdue = row.assigned - row.settled;
      if (lostSince !== null && this.#clock.now() - lostSince <= LOST_INSTANCE_TICKS) continue;
      if (lostSince !== null) recordLost(entry.ledger, tick, overdue);
      else {
        recordMissing(entry.ledger, tick, overdue);
        entry.totals.missing += overdue;
      }
      if (state) this.#closeRow(state, row);
      this.#touch(entry, tick, false);
      changed = true;
    }
    return changed;
  }

  #releaseHeld(entry: Entry, tick: number): boolean {
    const held = entry.held.get(tick);
    const counts = held?.ticks[0];
    if (!counts) return false;
    addCounts(entry.ledger, counts);
    entry.held.delete(tick);
    this.#dirty.closedHeldTicks.add({ ...keyOnly(entry), tick });
    this.#touch(entry, tick, false);
    return true;
  }

  #unknown(alias: string, version: string): Omit<Rejection, "index"> | undefined {
    const world = this.#world();
    if (!world.aliases.has(alias)) return { code: "alias_not_found", message: `there is no alias ${alias}` };
    if (world.versions.get(version)?.alias === alias) return undefined;
    return { code: "version_not_found", message: `version ${version} is not registered for ${alias}` };
  }

  #entry(alias: string, version: string): Entry {
    const rolloutNumber = this.#world().aliases.get(alias)?.rolloutNumber ?? 0;
    const key = { alias, version, rolloutNumber };
    const found = this.#entries.get(keyOf(key));
    if (found) return found;
    const owner = this.#world().aliases.get(alias);
    const policy = owner?.rollout?.policy ?? owner?.policy;
    const compiled = policy ? compileGuardrails(policy) : undefined;
    const stageIndex = policy?.stages.findIndex((stage) => stage.name === owner?.rollout?.stage) ?? 0;
    const stages = policy ? policy.stages.length - Math.max(0, stageIndex) : 1;
    const ledger = newLedger(compiled?.ok ? compiled.guardrails : [], policy?.alpha ?? 0.01, stages);
    return this.#newEntry(key, ledger, { assigned: 0, settled: 0, missing: 0, failures: 0 });
  }

  #newEntry(key: LedgerKey, ledger: Ledger, totals: Entry["totals"]): Entry {
    const owner = this.#world().aliases.get(key.alias);
    const policy = owner?.rollout?.policy ?? owner?.policy;
    const timeoutMs = policy ? durationMs(policy.outcomeTimeout) : DEFAULT_OUTCOME_TIMEOUT_MS;
    const entry: Entry = {
      ...keyOnly(key),
      ledger,
      totals,
      timeoutTicks: Math.ceil(timeoutMs / TICK_MS),
      open: new Map(),
      held: new Map(),
    };
    this.#entries.set(keyOf(key), entry);
    return entry;
  }

  #heldLedger(entry: Entry, tick: number): Ledger {
    const found = entry.held.get(tick);
    if (found) return found;
    const ledger = newLedger(entry.ledger.guardrails, entry.ledger.alpha, entry.ledger.stages);
    entry.held.set(tick, ledger);
    return ledger;
  }

  #instance(instance: string, tokenId: string): InstanceState {
    const found = this.#instances.get(instance);
    if (found) return found;
    const state: InstanceState = { instance, tokenId, through: 0, durableThrough: 0, rows: new Map(), lostSince: null };
    this.#instances.set(instance, state);
    return state;
  }

  #addRow(state: InstanceState, row: Row): void {
    state.rows.set(rowKey(row), row);
    const open = row.entry.open.get(row.tick) ?? new Set();
    row.entry.open.set(row.tick, open.add(row));
  }

  #closeRow(state: InstanceState, row: Row): void {
    this.#dropRow(state, row);
    const { instance, seq, alias, version } = row;
    this.#dirty.closedRows.add({ instance, seq, alias, version });
  }

  #dropRow(state: InstanceState, row: Row): void {
    state.rows.delete(rowKey(row));
    this.#dirty.rows.delete(row);
    const open = row.entry.open.get(row.tick);
    open?.delete(row);
    if (open?.size === 0) row.entry.open.delete(row.tick);
  }

  #touch(entry: Entry, tick: number, held: boolean): void {
    this.#dirty.entries.add(entry);
    const counts = countsAt(held ? entry.held.get(tick) : entry.ledger, tick);
    if (!counts) return;
    const touched = held ? this.#dirty.heldTicks : this.#dirty.ticks;
    const ticks = touched.get(entry) ?? new Map();
    // The counts themselves, because a tick that is frozen meanwhile leaves the ledger and still has to be written.
    touched.set(entry, ticks.set(tick, counts));
  }
}

function emptyDirty() {
  return {
    instances: new Set<InstanceState>(),
    rows: new Set<Row>(),
    closedRows: new Set<Pick<AssignmentRow, "instance" | "seq" | "alias" | "version">>(),
    entries: new Set<Entry>(),
    ticks: new Map<Entry, Map<number, TickCounts>>(),
    heldTicks: new Map<Entry, Map<number, TickCounts>>(),
    closedHeldTicks: new Set<LedgerKey & { readonly tick: number }>(),
    runs: [] as RunRow[],
  };
}

function ticksToWrite(
  dirty: ReadonlyMap<Entry, ReadonlyMap<number, TickCounts>>,
  held: boolean,
): LedgerWrites["ticks"][number][] {
  return [...dirty].flatMap(([entry, ticks]) =>
    [...ticks.values()].map((counts) => ({ ...keyOnly(entry), held, counts })),
  );
}

function countsAt(ledger: Ledger | undefined, tick: number): TickCounts | undefined {
  return ledger?.ticks.findLast((counts) => counts.tick === tick);
}

function keyOnly({ alias, version, rolloutNumber }: LedgerKey): LedgerKey {
  return { alias, version, rolloutNumber };
}

function keyOf({ alias, version, rolloutNumber }: LedgerKey): string {
  return `${alias} ${version} ${rolloutNumber}`;
}

function rowKey({ seq, alias, version }: Pick<AssignmentRow, "seq" | "alias" | "version">): string {
  return `${seq} ${alias} ${version}`;
}

function invalid(issue: { readonly path: readonly PropertyKey[]; readonly message: string } | undefined) {
  return { code: "outcome_invalid", message: `${issue?.path.join(".") || "outcome"}: ${issue?.message}` };
}

function forbiddenAlias(alias: string) {
  return { code: "forbidden", message: `this token may not report for ${alias}` };
}
