/**
 * What the ledger book has counted and no store has yet: collected for one write, and marked again where that failed.
 */
import type { Arm, CountsRow } from "@flagback/core";
import type { AssignmentRow, LedgerWrites, RunRow } from "../store/store.ts";
import type { InstanceState } from "./instances.ts";
import type { OpenRow, RolloutLedger } from "./rollout-ledger.ts";

interface TouchedCounts {
  readonly rollout: RolloutLedger;
  readonly tick: number;
  readonly arm: Arm;
  readonly runtime: string;
  readonly isHeld: boolean;
}

export class Unwritten {
  readonly instances = new Set<InstanceState>();
  readonly rows = new Set<OpenRow>();
  readonly ledgers = new Set<RolloutLedger>();
  runs: RunRow[] = [];
  frozen: LedgerWrites["frozen"][number][] = [];
  closedHeldTicks: LedgerWrites["closedHeldTicks"][number][] = [];
  readonly #closedRows = new Map<string, LedgerWrites["closedAssignments"][number]>();
  readonly #counts = new Map<string, TouchedCounts>();
  readonly #totals = new Map<string, { readonly rollout: RolloutLedger; readonly version: string }>();

  isEmpty(): boolean {
    const { instances, rows, ledgers, runs, frozen, closedHeldTicks } = this;
    const parts = [instances, rows, ledgers, this.#closedRows, this.#counts, this.#totals];
    return parts.every((part) => part.size === 0) && runs.length + frozen.length + closedHeldTicks.length === 0;
  }

  touch(rollout: RolloutLedger, version: string, tick: number, runtime: string, isHeld = false): void {
    this.touchTotals(rollout, version);
    const arm = rollout.armOf(version);
    if (arm) this.touchCounts(rollout, arm, tick, runtime, isHeld);
  }

  touchCounts(rollout: RolloutLedger, arm: Arm, tick: number, runtime: string, isHeld: boolean): void {
    const { alias, rolloutNumber } = rollout.key;
    this.#counts.set(`${alias} ${rolloutNumber} ${tick} ${arm} ${runtime} ${isHeld}`, {
      rollout,
      tick,
      arm,
      runtime,
      isHeld,
    });
  }

  touchTotals(rollout: RolloutLedger, version: string): void {
    const { alias, rolloutNumber } = rollout.key;
    this.#totals.set(`${alias} ${rolloutNumber} ${version}`, { rollout, version });
  }

  closeRow({ instance, seq, alias, version }: AssignmentRow): void {
    this.#closedRows.set(`${instance} ${seq} ${alias} ${version}`, { instance, seq, alias, version });
  }

  /** As it is now. */
  writes(tick: number): LedgerWrites {
    return {
      instances: [...this.instances].map(({ instance, tokenId, through, lostSince }) => ({
        instance,
        tokenId,
        through,
        lostSince,
      })),
      assignments: [...this.rows].map((row) => ({ ...row })),
      closedAssignments: [...this.#closedRows.values()],
      counts: [...this.#counts.values()].flatMap((touched) => {
        const row = rowOf(touched);
        return row ? [{ ...touched.rollout.key, isHeld: touched.isHeld, row }] : [];
      }),
      closedHeldTicks: [...this.closedHeldTicks],
      frozen: [...this.frozen],
      ledgers: [...this.ledgers].map(({ key, ledger }) => ({ ...key, ledger })),
      totals: [...this.#totals.values()].map(({ rollout, version }) => ({
        ...rollout.key,
        version,
        totals: { ...rollout.totalsOf(version) },
      })),
      runs: [...this.runs],
      tick,
    };
  }

  /** Takes in what an earlier write could not keep; what was counted since is written as it is then. */
  addEarlier(earlier: Unwritten): void {
    for (const state of earlier.instances) this.instances.add(state);
    for (const row of earlier.rows)
      if (!this.#closedRows.has(`${row.instance} ${row.seq} ${row.alias} ${row.version}`)) this.rows.add(row);
    for (const ledger of earlier.ledgers) this.ledgers.add(ledger);
    for (const [key, row] of earlier.#closedRows) this.#closedRows.set(key, row);
    for (const [key, touched] of earlier.#counts) this.#counts.set(key, touched);
    for (const [key, touched] of earlier.#totals) this.#totals.set(key, touched);
    this.runs = earlier.runs.concat(this.runs);
    this.frozen = earlier.frozen.concat(this.frozen);
    this.closedHeldTicks = earlier.closedHeldTicks.concat(this.closedHeldTicks);
  }
}

/** Counts of one runtime; `undefined` once their tick is frozen, because then only the arms' sums are kept. */
function rowOf({ rollout, tick, arm, runtime, isHeld }: TouchedCounts): CountsRow | undefined {
  const ledger = isHeld ? rollout.held.get(tick) : rollout.ledger;
  const counts = ledger?.ticks
    .findLast((each) => each.tick === tick)
    ?.arms[arm].runtimes.find((each) => each.runtime === runtime);
  return counts && { arm, tick, ...counts };
}
