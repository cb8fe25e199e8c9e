/**
 * The store's transactions: each has a name, by which it is measured and, in tests, broken.
 */
import type Database from "better-sqlite3";
import type { Reach, Write } from "./failpoints.ts";

/** Told of every write and of every failure of the database. */
export interface StoreEvents {
  /** A transaction was committed. */
  readonly written?: (write: Write, ms: number) => void;
  /** The database could not be read or written. */
  readonly failed?: (error: Error) => void;
}

/** Makes transactions that are all or nothing and take the write lock at once. */
export class Writes {
  readonly #database: Database.Database;
  readonly #events: StoreEvents;
  readonly #reach: Reach | undefined;

  constructor(database: Database.Database, events: StoreEvents, reach: Reach | undefined) {
    this.#database = database;
    this.#events = events;
    this.#reach = reach;
  }

  /** Runs `body` as one transaction named `write`. */
  make<Args extends unknown[], Result>(write: Write, body: (...args: Args) => Result): (...args: Args) => Result {
    const transaction = this.#transaction(write, body);
    return (...args) => {
      const begunMs = performance.now();
      const result = transaction(...args);
      this.#events.written?.(write, performance.now() - begunMs);
      return result;
    };
  }

  #transaction<Args extends unknown[], Result>(
    write: Write,
    body: (...args: Args) => Result,
  ): (...args: Args) => Result {
    const reach = this.#reach;
    if (!reach) return this.#database.transaction(body).immediate;
    const watched = this.#database.transaction((...args: Args) => {
      reach(`${write}.after-begin`);
      const result = body(...args);
      reach(`${write}.before-commit`);
      return result;
    });
    return (...args) => {
      reach(`${write}.before-begin`);
      const result = watched.immediate(...args);
      reach(`${write}.after-commit`);
      return result;
    };
  }
}
