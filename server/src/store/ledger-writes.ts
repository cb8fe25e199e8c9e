/**
 * What of the counts is kept, and what makes them durable.
 */
import type { Counts, CountsRow, Ledger } from "@flagback/core";

/**
 * Names the ledger of one rollout of an alias; 0 is before its first. The recovery after its rollback has a ledger of its own,
 * under the number's negative.
 */
export interface RolloutKey {
  readonly alias: string;
  readonly rolloutNumber: number;
}

/** The ledger of what happens after the rollback of a rollout. */
export function recoveryKey({ alias, rolloutNumber }: RolloutKey): RolloutKey {
  return { alias, rolloutNumber: -rolloutNumber };
}

export function isRecovery({ rolloutNumber }: RolloutKey): boolean {
  return rolloutNumber < 0;
}

/** One version within it. */
export interface LedgerKey extends RolloutKey {
  readonly version: string;
}

export interface LedgerTotals {
  readonly assigned: number;
  readonly settled: number;
  readonly missing: number;
  readonly failures: number;
}

/** One runtime instance: its last counted batch, and the tick at which its socket died in silence. */
export interface InstanceRow {
  readonly instance: string;
  readonly tokenId: string;
  readonly through: number;
  readonly lostSince: number | null;
}

/** Runs that one batch announced for one version. */
export interface AssignmentRow extends LedgerKey {
  readonly instance: string;
  readonly seq: number;
  readonly tick: number;
  assigned: number;
  settled: number;
  /** Open runs that were counted overdue, by latency limit in milliseconds. */
  overdue: Record<string, number>;
}

/** Runs that were counted for one version, in the order they were. */
export interface RunsRow extends LedgerKey {
  readonly runIds: readonly string[];
}

/** Counts to make durable, as they are now (not as differences), so that writing them twice changes nothing. */
export interface LedgerWrites {
  readonly instances: readonly InstanceRow[];
  readonly assignments: readonly AssignmentRow[];
  /** Assignments with nothing left to settle. */
  readonly closedAssignments: readonly Pick<AssignmentRow, "instance" | "seq" | "alias" | "version">[];
  /** Counts of one runtime in an open tick; held ones wait for their tick's timeout. */
  readonly counts: readonly (RolloutKey & { readonly isHeld: boolean; readonly row: CountsRow })[];
  readonly closedHeldTicks: readonly (RolloutKey & { readonly tick: number })[];
  /** Sums of ticks that no longer change; they replace the runtimes' rows. */
  readonly frozen: readonly (RolloutKey & {
    readonly tick: number;
    readonly candidate: Counts;
    readonly stable: Counts;
  })[];
  /** Ledgers whose frozen part changed; their open ticks are not written here. */
  readonly ledgers: readonly (RolloutKey & { readonly ledger: Ledger })[];
  readonly totals: readonly (LedgerKey & { readonly totals: LedgerTotals })[];
  readonly runs: readonly RunsRow[];
  /** The tick that the server is in. */
  readonly tick: number;
}

/** Nothing to make durable. */
export const NO_LEDGER_WRITES: LedgerWrites = {
  instances: [],
  assignments: [],
  closedAssignments: [],
  counts: [],
  closedHeldTicks: [],
  frozen: [],
  ledgers: [],
  totals: [],
  runs: [],
  tick: 0,
};
