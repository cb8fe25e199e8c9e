/**
 * What counting needs, whatever way reports come; and the few steps that every way takes.
 */
import type { World } from "@flagback/core";
import type { Outcome } from "@flagback/schemas";
import type { RolloutKey } from "../store/ledger-writes.ts";
import { findRow, type InstanceState } from "./instances.ts";
import type { RecentRuns } from "./recent-runs.ts";
import type { ReportedOutcomes } from "./reported-outcomes.ts";
import { noteRun, type OpenRow, type RolloutLedger, type Tally } from "./rollout-ledger.ts";
import type { Rollouts } from "./rollouts.ts";
import type { TickClock } from "./tick-clock.ts";
import type { Unwritten } from "./unwritten.ts";

export interface Counting {
  readonly world: () => World;
  readonly clock: TickClock;
  readonly rollouts: Rollouts;
  readonly runs: RecentRuns;
  readonly reported: ReportedOutcomes;
  /** Replaced when it is collected. */
  unwritten: Unwritten;
}

/** The rollout's ledger, new where nothing was counted in it. */
export function rolloutOf({ rollouts, unwritten, world }: Counting, key: RolloutKey): RolloutLedger {
  const found = rollouts.find(key);
  if (found) return found;
  const made = rollouts.add(key);
  const stage = world().aliases.get(key.alias)?.rollout?.stage;
  if (stage !== undefined) made.stageBegan(stage);
  unwritten.ledgers.add(made);
  return made;
}

/** Notes an outcome that is counted; that the run is new was found by `runs.add`. `nowMs` is of the monotonic clock. */
export function noteOutcome({ unwritten, reported }: Counting, tally: Tally, outcome: Outcome, nowMs: number): void {
  const { runId, status } = outcome;
  tally.rollout.lastOutcomeMs = nowMs;
  if (tally.arm === "candidate") tally.rollout.lastCandidateOutcomeMs = nowMs;
  tally.statuses ??= reported.of(tally.rollout.key.alias, tally.version);
  tally.statuses[status] += 1;
  tally.runIds.push(runId);
  unwritten.runs += 1;
  tally.notes?.note(outcome);
  noteRun(tally, runId);
}

/** Keeps an assignment that has runs left to settle, until they are. */
export function keepRow(state: InstanceState, row: OpenRow): void {
  const others = state.rows.get(row.seq);
  if (others) others.push(row);
  else state.rows.set(row.seq, [row]);
  row.rollout.addOpen(row);
}

/** The assignment has nothing left to settle. */
export function closeRow({ unwritten }: Counting, state: InstanceState | undefined, row: OpenRow): void {
  row.isClosed = true;
  unwritten.closeRow(row);
  const rows = state?.rows.get(row.seq);
  // It was opened just now, and never kept.
  if (!rows || findRow(rows, row) !== row) return;
  if (rows.length === 1) state?.rows.delete(row.seq);
  else rows.splice(rows.indexOf(row), 1);
  row.rollout.removeOpen(row);
}
