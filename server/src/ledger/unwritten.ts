/**
 * What the ledger book has counted and no store has yet: collected for one write, and marked again where that failed.
 */
import type { LedgerWrites } from "../store/ledger-writes.ts";
import type { InstanceState } from "./instances.ts";
import { Marked } from "./marked.ts";
import type { JudgedCell, OpenRow, RolloutLedger, Tally } from "./rollout-ledger.ts";

export class Unwritten {
  readonly instances = new Marked<InstanceState>();
  readonly ledgers = new Marked<RolloutLedger>();
  readonly cells = new Marked<JudgedCell>();
  readonly tallies = new Marked<Tally>();
  /** Outcomes in it. */
  runs = 0;
  /** When the oldest batch in it was counted, on the monotonic clock. */
  sinceMs = Number.POSITIVE_INFINITY;
  /** Assignments with runs left to settle; some may have closed since. */
  readonly #rows = new Marked<OpenRow>();
  #closedRows: OpenRow[] = [];
  #frozen: LedgerWrites["frozen"][number][] = [];
  #closedHeldTicks: LedgerWrites["closedHeldTicks"][number][] = [];
  /** Runs that `writes` has handed out. */
  readonly #handedOut: { readonly tally: Tally; readonly runIds: readonly string[] }[] = [];

  isEmpty(): boolean {
    const marked = [this.instances, this.ledgers, this.cells, this.tallies, this.#rows];
    const lists = [this.#closedRows, this.#frozen, this.#closedHeldTicks];
    return marked.every(({ items }) => items.length === 0) && lists.every((list) => list.length === 0);
  }

  /** The ledgers that it is of. */
  rollouts(): Set<RolloutLedger> {
    const counted = [this.cells, this.tallies, this.#rows].flatMap(({ items }) => items.map(({ rollout }) => rollout));
    return new Set([...this.ledgers.items, ...counted, ...this.#closedRows.map(({ rollout }) => rollout)]);
  }

  /** The assignment's counts changed. */
  touch({ tally, cell }: Pick<OpenRow, "tally" | "cell">): void {
    this.tallies.add(tally);
    if (cell) this.cells.add(cell);
  }

  openRow(row: OpenRow): void {
    this.#rows.add(row);
  }

  /** An assignment that opens and closes between two writes leaves no trace in the store. */
  closeRow(row: OpenRow): void {
    if (row.isStored) this.#closedRows.push(row);
  }

  freeze(tick: LedgerWrites["frozen"][number]): void {
    this.#frozen.push(tick);
  }

  closeHeldTick(tick: LedgerWrites["closedHeldTicks"][number]): void {
    this.#closedHeldTicks.push(tick);
  }

  /** As it is now. Called once. */
  writes(tick: number): LedgerWrites {
    const open = this.#rows.items.filter((row) => !row.isClosed);
    for (const row of open) row.isStored = true;
    for (const tally of this.tallies.items) {
      if (tally.runIds.length === 0) continue;
      this.#handedOut.push({ tally, runIds: tally.runIds });
      tally.runIds = [];
    }
    // Two handles may be of one cell.
    const cells = new Map(this.cells.items.map((cell) => [cell.counts, cell]));
    return {
      instances: this.instances.items.map(({ instance, tokenId, through, lostSince }) => ({
        instance,
        tokenId,
        through,
        lostSince,
      })),
      assignments: open.map(({ instance, seq, alias, version, rollout, tick, assigned, settled, overdue }) => ({
        instance,
        seq,
        alias,
        version,
        rolloutNumber: rollout.key.rolloutNumber,
        tick,
        assigned,
        settled,
        overdue,
      })),
      closedAssignments: this.#closedRows.map(({ instance, seq, alias, version }) => ({
        instance,
        seq,
        alias,
        version,
      })),
      counts: [...cells.values()].filter(isOpen).map(({ rollout, isHeld, arm, tick, counts }) => ({
        ...rollout.key,
        isHeld,
        row: { arm, tick, ...counts },
      })),
      closedHeldTicks: [...this.#closedHeldTicks],
      frozen: [...this.#frozen],
      ledgers: this.ledgers.items.map(({ key, ledger }) => ({ ...key, ledger })),
      totals: this.tallies.items.map(({ rollout, version, totals }) => ({
        ...rollout.key,
        version,
        totals: { ...totals },
      })),
      runs: this.#handedOut.map(({ tally: { rollout, version }, runIds }) => ({ ...rollout.key, version, runIds })),
      tick,
    };
  }

  /** Takes in what an earlier write could not keep; what was counted since is written as it is then. */
  addEarlier(earlier: Unwritten): void {
    this.runs += earlier.runs;
    this.sinceMs = Math.min(this.sinceMs, earlier.sinceMs);
    for (const state of earlier.instances.items) this.instances.add(state);
    for (const ledger of earlier.ledgers.items) this.ledgers.add(ledger);
    for (const cell of earlier.cells.items) this.cells.add(cell);
    for (const tally of earlier.tallies.items) this.tallies.add(tally);
    for (const row of earlier.#rows.items) this.#rows.add(row);
    for (const { tally, runIds } of earlier.#handedOut) tally.runIds = runIds.concat(tally.runIds);
    this.#closedRows = earlier.#closedRows.concat(this.#closedRows);
    this.#frozen = earlier.#frozen.concat(this.#frozen);
    this.#closedHeldTicks = earlier.#closedHeldTicks.concat(this.#closedHeldTicks);
  }
}

/** Once their tick is frozen, only the arms' sums are kept; once it is released, a held cell's counts are the ledger's. */
function isOpen({ rollout, ledger, tick, isHeld }: JudgedCell): boolean {
  return isHeld ? rollout.held.get(tick) === ledger : tick > ledger.prefix.throughTick;
}
