/**
 * Counts as a log: each group of them is one row, so that a commit writes a few pages one after the other, however many
 * runtimes it is of. The rows are folded into the ledger's tables later and little by little, many groups at once, so that
 * a runtime's row is written once for hundreds of its batches (ADR 10).
 */
import type Database from "better-sqlite3";
import {
  isEmpty,
  joinedChanges,
  MergedRows,
  type RowChanges,
  RowStatements,
  rowChangesOf,
  type Step,
} from "./ledger-rows.ts";
import type { LedgerWrites } from "./ledger-writes.ts";

/**
 * So much is logged before it is folded, and while that goes on the same again: twice this is what a start may have to
 * read. Larger ones write fewer rows; in characters of JSON, which are bytes but for foreign names.
 */
const FOLD_EVERY_LENGTH = 8 * 1024 * 1024;
/** Rows that a commit folds at least, while there are any. */
const MIN_FOLDED_ROWS = 16;
/** Journal rows that one step deletes at most: each may be of many pages. */
const MAX_DELETED_GROUPS = 4;

/** Logged, and on its way into the tables. */
interface Fold {
  readonly merged: MergedRows;
  readonly blocks: readonly (() => Step[])[];
  /** Of rows, about. */
  readonly size: number;
  readonly place: Place;
}

/** The next step. */
interface Place {
  readonly block: number;
  readonly step: number;
}

/** One that is logged, and how far the fold came beside it. */
interface Group {
  readonly changes: RowChanges;
  readonly length: number;
  readonly number: number;
  readonly place: Place | undefined;
  /** What it takes out of the fold under way. */
  readonly droppedOfFold?: RowChanges;
}

const START: Place = { block: 0, step: 0 };

export class LedgerJournal {
  readonly #rows: RowStatements;
  readonly #database: Database.Database;
  readonly #insert: Database.Statement;
  readonly #drop: Database.Statement;
  readonly #foldEvery: number;
  /** What was logged since the last fold began. */
  #logged = new MergedRows();
  #loggedLength = 0;
  #loggedThrough = 0;
  #fold: Fold | undefined;
  /** What the transaction that is under way has done. */
  #begun: Group | "folded all" | undefined;
  /** The block that was made last. */
  #made: { readonly block: () => Step[]; readonly steps: Step[] } | undefined;

  constructor(database: Database.Database, foldEveryLength = FOLD_EVERY_LENGTH) {
    this.#database = database;
    this.#foldEvery = foldEveryLength;
    this.#rows = new RowStatements(database);
    this.#insert = database.prepare("INSERT INTO ledger_journal (changes) VALUES (?)");
    this.#drop = database.prepare(`DELETE FROM ledger_journal WHERE number <= ? LIMIT ${MAX_DELETED_GROUPS}`);
  }

  /**
   * Logs a group, and folds a little of what was logged before unless somebody waits. Its caller opens the transaction, and
   * says `kept` when it is committed.
   */
  append(writes: LedgerWrites, { folds }: { readonly folds: boolean }): void {
    this.#begun = undefined;
    const changes = rowChangesOf(writes);
    if (isEmpty(changes)) return;
    const text = JSON.stringify(changes);
    const number = Number(this.#insert.run(text).lastInsertRowid);
    const place = folds && this.#fold ? this.#goOn(this.#fold, this.#share(this.#fold, text.length)) : undefined;
    this.#begun = { changes, length: text.length, number, place };
  }

  /**
   * Ledgers and totals of these rollouts have gone, and must not come back by a row that was logged before. Its caller opens
   * the transaction, and says `kept` when it is committed.
   */
  drop(isDropped: (alias: string, rolloutNumber: number) => boolean): void {
    this.#begun = undefined;
    const ofLogged = this.#logged.dropping(isDropped);
    const ofFold = this.#fold?.merged.dropping(isDropped);
    const changes = ofFold ? joinedChanges(ofLogged, ofFold) : ofLogged;
    if (isEmpty(changes)) return;
    const text = JSON.stringify(changes);
    const number = Number(this.#insert.run(text).lastInsertRowid);
    this.#begun = { changes, length: text.length, number, place: undefined, droppedOfFold: ofFold };
  }

  /** What was appended, dropped or folded is durable. */
  kept(): void {
    const begun = this.#begun;
    this.#begun = undefined;
    if (begun === undefined) return;
    if (begun === "folded all") {
      this.#fold = undefined;
      this.#takeLogged();
      return;
    }
    this.#logged.add(begun.changes);
    this.#loggedLength += begun.length;
    this.#loggedThrough = begun.number;
    if (this.#fold && begun.droppedOfFold) {
      // Each row keeps its place in its block, so the fold goes on where it was.
      this.#fold.merged.add(begun.droppedOfFold);
      this.#made = undefined;
    }
    if (this.#fold && begun.place) {
      const isDone = begun.place.block === this.#fold.blocks.length;
      this.#fold = isDone ? undefined : { ...this.#fold, place: begun.place };
    }
    if (!this.#fold && this.#loggedLength >= this.#foldEvery) this.#fold = this.#foldOf(this.#takeLogged());
  }

  /** Folds all that the database holds, also of an earlier start. Its caller opens the transaction, and says `kept`. */
  foldAll(): void {
    const merged = new MergedRows();
    for (const text of this.#database.prepare("SELECT changes FROM ledger_journal ORDER BY number").pluck().iterate()) {
      merged.add(JSON.parse(text as string) as RowChanges);
    }
    this.#goOn(
      { merged, blocks: merged.blocks(this.#rows), size: merged.size, place: START },
      Number.POSITIVE_INFINITY,
    );
    this.#database.exec("DELETE FROM ledger_journal");
    this.#begun = "folded all";
  }

  #takeLogged(): MergedRows {
    const taken = this.#logged;
    this.#logged = new MergedRows();
    this.#loggedLength = 0;
    return taken;
  }

  #foldOf(merged: MergedRows): Fold {
    const drop = { statement: this.#drop, values: [this.#loggedThrough], limit: MAX_DELETED_GROUPS };
    return { merged, blocks: [...merged.blocks(this.#rows), () => [drop]], size: merged.size, place: START };
  }

  /** Rows to fold beside a group of that length: by the time that the next fold is due, this one is long done. */
  #share({ size }: Fold, length: number): number {
    return Math.max(MIN_FOLDED_ROWS, Math.ceil((2 * size * length) / this.#foldEvery));
  }

  /** Carries out steps until so many rows are changed. Answers how far it came. */
  #goOn({ blocks, place }: Fold, rows: number): Place {
    let { block, step } = place;
    let left = rows;
    while (left > 0 && block < blocks.length) {
      const next = this.#stepsOf(blocks[block] as () => Step[])[step];
      if (!next) {
        block += 1;
        step = 0;
        continue;
      }
      const { changes } = next.statement.run(...next.values);
      left -= Math.max(1, changes);
      if (next.limit === undefined || changes < next.limit) step += 1;
    }
    return { block, step };
  }

  #stepsOf(block: () => Step[]): Step[] {
    if (this.#made?.block !== block) this.#made = { block, steps: block() };
    return this.#made.steps;
  }
}
