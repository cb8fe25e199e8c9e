/**
 * The rows that counts are kept in: what a group of counts changes in them, many groups merged into one, and the steps
 * that carry it out.
 */
import type Database from "better-sqlite3";
import type { LedgerWrites } from "./ledger-writes.ts";

/** Rows are per replica and summed; the embedded store has one. */
export const REPLICA = "main";
/** Rows that one step deletes at most: a tick may hold those of every runtime. */
const MAX_DELETED_ROWS = 256;

type Value = string | number | null;
/** Values of a row, in the order of its table's columns, or of the part of its key that names it. */
type Row = readonly Value[];

/** What one group of counts changes. Values as they are then, not differences, and JSON, as the journal keeps it. */
export interface RowChanges {
  readonly instances: readonly Row[];
  readonly assignments: readonly Row[];
  readonly closedAssignments: readonly Row[];
  readonly counts: readonly Row[];
  /** Ticks whose rows go: they are frozen, or were held and are released. */
  readonly closedTicks: readonly Row[];
  readonly ledgers: readonly Row[];
  readonly totals: readonly Row[];
  /** Keys of ledgers and of totals that go. */
  readonly droppedLedgers?: readonly Row[];
  readonly droppedTotals?: readonly Row[];
}

const NO_ROWS = {
  instances: [],
  assignments: [],
  closedAssignments: [],
  counts: [],
  closedTicks: [],
  ledgers: [],
  totals: [],
} satisfies RowChanges;

/** Of changes that only drop, both. */
export function joinedChanges(one: RowChanges, other: RowChanges): RowChanges {
  return {
    ...NO_ROWS,
    droppedLedgers: [...(one.droppedLedgers ?? []), ...(other.droppedLedgers ?? [])],
    droppedTotals: [...(one.droppedTotals ?? []), ...(other.droppedTotals ?? [])],
  };
}

/** A copy: what `writes` refers to goes on counting. */
export function rowChangesOf(writes: LedgerWrites): RowChanges {
  return {
    instances: writes.instances.map((row) => [row.instance, row.tokenId, row.through, writes.tick, row.lostSince]),
    assignments: writes.assignments.map(
      ({ instance, seq, alias, version, rolloutNumber, tick, assigned, settled, overdue }) =>
        [instance, seq, alias, version, rolloutNumber, tick, assigned, settled, JSON.stringify(overdue)] as const,
    ),
    closedAssignments: writes.closedAssignments.map(({ instance, seq, alias, version }) => [
      instance,
      seq,
      alias,
      version,
    ]),
    counts: writes.counts.map(({ alias, rolloutNumber, isHeld, row }) => {
      const { arm, tick, runtime, ...counts } = row;
      return [alias, rolloutNumber, tick, isHeld ? 1 : 0, arm, runtime, REPLICA, JSON.stringify(counts)] as const;
    }),
    closedTicks: [
      ...writes.frozen.map(({ alias, rolloutNumber, tick }) => [alias, rolloutNumber, 0, tick]),
      ...writes.closedHeldTicks.map(({ alias, rolloutNumber, tick }) => [alias, rolloutNumber, 1, tick]),
    ],
    ledgers: writes.ledgers.map(({ alias, rolloutNumber, ledger }) => [
      alias,
      rolloutNumber,
      JSON.stringify({ ...ledger, ticks: [] }),
    ]),
    totals: writes.totals.map(({ alias, version, rolloutNumber, totals }) => [
      alias,
      version,
      rolloutNumber,
      totals.assigned,
      totals.settled,
      totals.missing,
      totals.failures,
    ]),
  };
}

export function isEmpty(changes: RowChanges): boolean {
  return Object.values(changes).every((rows: readonly Row[]) => rows.length === 0);
}

/** One statement. With a limit it is repeated for as long as it changes that many rows. */
export interface Step {
  readonly statement: Database.Statement;
  readonly values: Row;
  readonly limit?: number;
}

export class RowStatements {
  readonly putInstance: Database.Statement;
  readonly putAssignment: Database.Statement;
  readonly closeAssignment: Database.Statement;
  readonly putCounts: Database.Statement;
  readonly closeTick: Database.Statement;
  readonly putLedger: Database.Statement;
  readonly dropLedger: Database.Statement;
  readonly putTotals: Database.Statement;
  readonly dropTotals: Database.Statement;

  constructor(database: Database.Database) {
    const sql = (text: string) => database.prepare(text);
    this.putInstance = sql("REPLACE INTO instances VALUES (?, ?, ?, ?, ?)");
    this.putAssignment = sql("REPLACE INTO assignments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
    this.closeAssignment = sql("DELETE FROM assignments WHERE instance = ? AND seq = ? AND alias = ? AND version = ?");
    this.putCounts = sql("REPLACE INTO open_ticks VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    this.closeTick = sql(`DELETE FROM open_ticks
      WHERE alias = ? AND rollout_number = ? AND held = ? AND tick = ? LIMIT ${MAX_DELETED_ROWS}`);
    this.putLedger = sql("REPLACE INTO ledgers VALUES (?, ?, ?)");
    this.dropLedger = sql("DELETE FROM ledgers WHERE alias = ? AND rollout_number = ?");
    this.dropTotals = sql("DELETE FROM totals WHERE alias = ? AND version = ? AND rollout_number = ?");
    this.putTotals = sql("REPLACE INTO totals VALUES (?, ?, ?, ?, ?, ?, ?)");
  }
}

interface TickRows {
  /** Alias, rollout, whether it is held, tick. */
  readonly key: Row;
  isClosed: boolean;
  /** By arm and runtime. */
  readonly counts: Map<string, Row>;
}

/** The changes of many groups as one: of each row only the last is left. */
export class MergedRows {
  readonly #instances = new Map<string, Row>();
  /** Of these, of ledgers and of totals a row of the key alone is one that goes. */
  readonly #assignments = new Map<string, Row>();
  readonly #ticks = new Map<string, TickRows>();
  readonly #ledgers = new Map<string, Row>();
  readonly #totals = new Map<string, Row>();
  #tickRows = 0;

  /** Of the rows that are put or named one by one; what goes with a tick is not known. */
  get size(): number {
    const maps = [this.#instances, this.#assignments, this.#ticks, this.#ledgers, this.#totals];
    return maps.reduce((sum, { size }) => sum + size, this.#tickRows);
  }

  add(changes: RowChanges): void {
    for (const row of changes.instances) this.#instances.set(row[0] as string, row);
    for (const row of changes.assignments) this.#assignments.set(keyOf(row, ASSIGNMENT_KEY), row);
    for (const row of changes.closedAssignments) this.#assignments.set(keyOf(row, ASSIGNMENT_KEY), row);
    for (const row of changes.ledgers) this.#ledgers.set(keyOf(row, LEDGER_KEY), row);
    for (const row of changes.totals) this.#totals.set(keyOf(row, TOTALS_KEY), row);
    for (const key of changes.droppedLedgers ?? []) this.#ledgers.set(keyOf(key, LEDGER_KEY), key);
    for (const key of changes.droppedTotals ?? []) this.#totals.set(keyOf(key, TOTALS_KEY), key);
    for (const row of changes.counts) {
      const [alias = null, rolloutNumber = null, tick = null, held = null, arm, runtime] = row;
      const { counts } = this.#tickOf([alias, rolloutNumber, held, tick]);
      const before = counts.size;
      counts.set(`${arm}\n${runtime}`, row);
      this.#tickRows += counts.size - before;
    }
    for (const key of changes.closedTicks) {
      const tick = this.#tickOf(key);
      tick.isClosed = true;
      this.#tickRows -= tick.counts.size;
      tick.counts.clear();
    }
  }

  /** What takes the ledgers and totals out of it that it would put, of the rollouts that are meant. */
  dropping(isMeant: (alias: string, rolloutNumber: number) => boolean): RowChanges {
    const keysOf = (rows: ReadonlyMap<string, Row>, key: number) =>
      [...rows.values()]
        .filter((row) => row.length > key && isMeant(String(row[0]), Number(row[key - 1])))
        .map((row) => row.slice(0, key));
    return {
      ...NO_ROWS,
      droppedLedgers: keysOf(this.#ledgers, LEDGER_KEY),
      droppedTotals: keysOf(this.#totals, TOTALS_KEY),
    };
  }

  /** The steps in blocks, each made when its turn comes. Neighbours in a table come together: they share pages. */
  blocks(statements: RowStatements): (() => Step[])[] {
    const { putInstance, putAssignment, closeAssignment, putLedger, dropLedger, putTotals, dropTotals } = statements;
    const putOrDrop = (
      rows: ReadonlyMap<string, Row>,
      key: number,
      put: Database.Statement,
      drop: Database.Statement,
    ) => inOrder(rows).map((values) => ({ statement: values.length === key ? drop : put, values }));
    return [
      () => putOrDrop(this.#ledgers, LEDGER_KEY, putLedger, dropLedger),
      () => putOrDrop(this.#totals, TOTALS_KEY, putTotals, dropTotals),
      () => inOrder(this.#instances).map((values) => ({ statement: putInstance, values })),
      () => putOrDrop(this.#assignments, ASSIGNMENT_KEY, putAssignment, closeAssignment),
      ...[...this.#ticks.values()].map((tick) => () => stepsOfTick(tick, statements)),
    ];
  }

  #tickOf(key: Row): TickRows {
    const name = keyOf(key, key.length);
    const found = this.#ticks.get(name);
    if (found) return found;
    const made = { key, isClosed: false, counts: new Map<string, Row>() };
    this.#ticks.set(name, made);
    return made;
  }
}

/** Instance, batch, alias, version. */
const ASSIGNMENT_KEY = 4;
/** Alias, and last the rollout. */
const LEDGER_KEY = 2;
/** Alias, version, and last the rollout. */
const TOTALS_KEY = 3;

function stepsOfTick({ key, isClosed, counts }: TickRows, { closeTick, putCounts }: RowStatements): Step[] {
  const puts = inOrder(counts).map((values) => ({ statement: putCounts, values }));
  return isClosed ? [{ statement: closeTick, values: key, limit: MAX_DELETED_ROWS }, ...puts] : puts;
}

/** No value of a key has a line break in it: names, numbers and ids. */
function keyOf(row: Row, columns: number): string {
  let key = "";
  for (let i = 0; i < columns; i++) key += `${row[i]}\n`;
  return key;
}

function inOrder(rows: ReadonlyMap<string, Row>): Row[] {
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}
