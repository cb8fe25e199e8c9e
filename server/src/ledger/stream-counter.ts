/**
 * Counts what runtimes report on their streams: assignments first, then their outcomes, each once. The hot path.
 */
import { type Assignment, type OutcomeBatch, type Overdue, readStreamOutcome, StreamOutcome } from "@flagback/schemas";
import { type RolloutKey, recoveryKey } from "../store/ledger-writes.ts";
import { type Counting, closeRow, keepRow, noteOutcome, rolloutOf } from "./counting.ts";
import { findRow, type InstanceState, type RowName } from "./instances.ts";
import { invalidItem, MAX_EXPLAINED_ITEMS, type Problem, type Rejection, unreportable } from "./reportable.ts";
import type { JudgedCell, OpenRow, RolloutLedger, Tally } from "./rollout-ledger.ts";

/** A batch; each of its items may have been found to be as the schema asks already. */
export type ReadBatch = OutcomeBatch & { readonly areItemsChecked?: boolean };

export interface CountedBatch {
  readonly kind: "counted";
  /** When it came, on the monotonic clock. */
  readonly arrivedMs: number;
  readonly rejected: readonly Rejection[];
  /** Of those, what says how a run went that is no longer waited for. */
  readonly late: readonly StreamOutcome[];
  /** Aliases whose counts changed. */
  readonly aliases: readonly string[];
}

/** One batch on its way through. */
interface Pass {
  readonly state: InstanceState;
  readonly seq: number;
  readonly areItemsChecked: boolean;
  readonly mayReport: (alias: string) => boolean;
  /** On the monotonic clock. */
  readonly nowMs: number;
  /** Assignments that the batch announces. */
  opened: OpenRow[];
  /** The assignment of the last item that was counted: nearly always the next one's too. */
  last: OpenRow | undefined;
  aliases: readonly string[];
  readonly rejected: Rejection[];
  readonly late: StreamOutcome[];
  /** The rollout whose alias was noted last. */
  noted: RolloutLedger | undefined;
}

/** Most batches are of one alias. */
const NONE: readonly never[] = [];

/** `mayReport` says which aliases the token may speak of. */
export function countBatch(
  counting: Counting,
  state: InstanceState,
  { seq, assigned, overdue, items, areItemsChecked = false }: ReadBatch,
  mayReport: (alias: string) => boolean,
): CountedBatch {
  const pass: Pass = {
    state,
    seq,
    areItemsChecked,
    mayReport,
    nowMs: counting.clock.monotonicMs(),
    opened: [],
    last: undefined,
    aliases: NONE,
    rejected: [],
    late: [],
    noted: undefined,
  };
  try {
    for (const assignment of inOrder(assigned)) assign(counting, pass, assignment);
    if (overdue) for (const runs of overdue) countOverdue(counting, pass, runs);
    for (let index = 0; index < items.length; index++) {
      const problem = countItem(counting, pass, items[index]);
      if (problem) pass.rejected.push({ index, ...problem });
    }
  } finally {
    // Most are settled by the batch that announces them, and nobody else ever hears of those.
    for (const row of pass.opened) {
      if (row.isClosed) continue;
      keepRow(state, row);
      counting.unwritten.openRow(row);
    }
  }
  const { nowMs: arrivedMs, rejected, late, aliases } = pass;
  return { kind: "counted", arrivedMs, rejected, late, aliases };
}

/** The earliest first: where a version is named under two rollouts, all of its runs count in the earlier one. */
function inOrder(assigned: readonly Assignment[]): readonly Assignment[] {
  return assigned.length < 2 ? assigned : assigned.toSorted((a, b) => a.revision - b.revision);
}

function assign(counting: Counting, pass: Pass, assignment: Assignment): void {
  const { alias, version, n } = assignment;
  if (unreportable(assignment, counting.world(), pass.mayReport)) return;
  const { seq, opened } = pass;
  // Outcomes name the batch and the version, so that the runs of two revisions can't be told apart.
  let row = findRow(opened, { seq, alias, version });
  if (row) row.assigned += n;
  else {
    row = newRow(counting, pass, assignment);
    // A list of one: most batches announce no more, and room for more would be garbage.
    if (opened.length === 0) pass.opened = [row];
    else opened.push(row);
  }
  row.rollout.assign(row, n);
  counting.unwritten.touch(row);
  noteAlias(pass, row);
}

function newRow(counting: Counting, { state, seq, nowMs }: Pass, assignment: Assignment): OpenRow {
  const { alias, version, revision, n } = assignment;
  const rollout = rolloutOf(counting, keyAt(counting, alias, revision));
  const tally = rollout.tallyOf(version);
  const tick = counting.clock.at(nowMs);
  return {
    instance: state.instance,
    seq,
    alias,
    version,
    tick,
    assigned: n,
    settled: 0,
    overdue: NONE_OVERDUE,
    rollout,
    tally,
    cell: cellOf(state, tally, tick),
    isClosed: false,
    isStored: false,
  };
}

const NONE_OVERDUE: OpenRow["overdue"] = Object.freeze({});

/** Where the instance's runs of the tick are judged: one cell for all its batches. */
function cellOf(state: InstanceState, { rollout, arm }: Tally, tick: number): JudgedCell | undefined {
  if (arm === undefined) return undefined;
  const { cells } = state;
  if (cells[0]?.tick !== tick) cells.length = 0;
  for (const cell of cells) if (cell.arm === arm && cell.rollout === rollout) return cell;
  const cell = rollout.cellOf(arm, state.instance, tick);
  cells.push(cell);
  return cell;
}

/** The ledger that an assignment belongs to, by the revision that its runtime had applied. */
function keyAt({ world }: Counting, name: string, revision: number): RolloutKey {
  const alias = world().aliases.get(name);
  const key = { alias: name, rolloutNumber: alias?.rolloutNumber ?? 0 };
  const { rollout } = alias ?? {};
  if (!rollout) return key;
  // One from before the current rollout's start is no evidence in it.
  if (revision < (rollout.startRevision ?? 0)) return { alias: name, rolloutNumber: key.rolloutNumber - 1 };
  return revision >= (rollout.endRevision ?? Number.POSITIVE_INFINITY) ? recoveryKey(key) : key;
}

function countOverdue(counting: Counting, pass: Pass, { assignedSeq, alias, version, limitMs, n }: Overdue): void {
  const row = rowOf(pass, { seq: assignedSeq, alias, version });
  if (!row) return;
  row.rollout.overdue(row, limitMs, n);
  counting.unwritten.openRow(row);
  counting.unwritten.touch(row);
  noteAlias(pass, row);
}

function countItem(counting: Counting, pass: Pass, item: unknown): Problem | undefined {
  const outcome = pass.areItemsChecked ? (item as StreamOutcome) : readStreamOutcome(item);
  if (outcome === undefined) return askSchema(counting, pass, item);
  return countOutcome(counting, pass, outcome);
}

function countOutcome(counting: Counting, pass: Pass, outcome: StreamOutcome): Problem | undefined {
  const row = rowOf(pass, { seq: outcome.assignedSeq, alias: outcome.alias, version: outcome.version });
  // What the batch announced, and the assignment of the item before, was asked already.
  const isAsked = row !== undefined && (row === pass.last || row.seq === pass.seq);
  const problem = isAsked ? undefined : unreportable(outcome, counting.world(), pass.mayReport);
  if (row && !problem && counting.runs.add(outcome.alias, outcome.runId, pass.state.instance)) {
    pass.last = row;
    settle(counting, pass, row, outcome);
    return undefined;
  }
  // The run did end: a report that can't be counted must not leave it to go missing, which would be bad. But the same
  // report once more says nothing of another run.
  const isRepeat = counting.runs.reporterOf(outcome.alias, outcome.runId) === pass.state.instance;
  if (row && !isRepeat) settle(counting, pass, row, null);
  return problem ?? uncounted(counting, pass, outcome);
}

/** What the decoder leaves to the schema. An item that is refused settles its run too, as far as it can be read. */
function askSchema(counting: Counting, pass: Pass, item: unknown): Problem | undefined {
  const { state } = pass;
  const parsed = state.refused < MAX_EXPLAINED_ITEMS ? StreamOutcome.safeParse(item) : undefined;
  if (parsed?.success) return countOutcome(counting, pass, parsed.data);
  state.refused += 1;
  const row = rowOf(pass, named(item));
  if (row) settle(counting, pass, row, null);
  return invalidItem("outcome_invalid", parsed);
}

/** Why an outcome that may be reported is not counted. */
function uncounted({ runs }: Counting, pass: Pass, outcome: StreamOutcome): Problem {
  const { alias, version, runId, assignedSeq } = outcome;
  if (runs.has(alias, runId))
    return { code: "duplicate", message: `an outcome of run ${runId} on ${alias} is counted already` };
  pass.late.push(outcome);
  return {
    code: "no_assignment",
    message: `batch ${assignedSeq} has no open assignment of ${version}: never announced, settled already, or timed out`,
  };
}

function settle(counting: Counting, pass: Pass, row: OpenRow, outcome: StreamOutcome | null): void {
  row.rollout.settle(row, outcome, outcome?.overdueLimitsMs);
  if (outcome) noteOutcome(counting, row.tally, outcome, pass.nowMs);
  if (row.settled === row.assigned) {
    closeRow(counting, pass.state, row);
    pass.last = undefined;
  } else if (row.seq !== pass.seq) counting.unwritten.openRow(row);
  counting.unwritten.touch(row);
  noteAlias(pass, row);
}

/** The open assignment of that name. */
function rowOf({ state, seq, opened, last }: Pass, name: RowName): OpenRow | undefined {
  if (last && last.seq === name.seq && last.alias === name.alias && last.version === name.version) return last;
  const row = findRow(name.seq === seq ? opened : state.rows.get(name.seq), name);
  return row?.isClosed ? undefined : row;
}

/** What an item that the schema refused says of its assignment, as far as it can be read. */
function named(item: unknown): RowName {
  const { assignedSeq, alias, version } = (typeof item === "object" && item !== null ? item : {}) as Record<
    string,
    unknown
  >;
  return { seq: Number(assignedSeq), alias: String(alias), version: String(version) };
}

function noteAlias(pass: Pass, { rollout, alias }: OpenRow): void {
  if (pass.noted === rollout) return;
  pass.noted = rollout;
  if (pass.aliases === NONE) pass.aliases = rollout.aliases;
  else if (!pass.aliases.includes(alias)) pass.aliases = [...pass.aliases, alias];
}
