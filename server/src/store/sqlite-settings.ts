/**
 * How the embedded database runs. docs/operations/database.md says why, and a test compares the two with each other.
 */
import { FlagbackError } from "@flagback/schemas";
import type Database from "better-sqlite3";

/** Pragmas in the order in which they are set, as SQLite then reads them back. */
export const SETTINGS: readonly (readonly [name: string, value: string | number])[] = [
  // Before the journal's mode: with it no other process shares the journal, so its index is in memory.
  ["locking_mode", "exclusive"],
  ["journal_mode", "wal"],
  // 2 is FULL. After the journal's mode, because the library's build takes NORMAL for a journal of this kind.
  ["synchronous", 2],
  ["fullfsync", 1],
  ["checkpoint_fullfsync", 1],
  // Pages.
  ["wal_autocheckpoint", 500],
  // Bytes.
  ["journal_size_limit", 32 * 1024 * 1024],
  // Negative: KiB.
  ["cache_size", -8 * 1024],
  ["mmap_size", 0],
  // 2 is memory.
  ["temp_store", 2],
  // Milliseconds.
  ["busy_timeout", 0],
];

/** @throws FlagbackError `database_unavailable` where the file's disk does not let it run like that. */
export function applySettings(database: Database.Database): void {
  for (const [name, value] of SETTINGS) {
    database.pragma(`${name} = ${value}`);
    const actual = database.pragma(name, { simple: true });
    if (actual === value) continue;
    throw new FlagbackError({
      code: "database_unavailable",
      message: `${database.name} can't be used with ${name} = ${value}: it is ${actual}.`,
      hint: "Put the data folder on a local disk. Nothing was changed.",
    });
  }
}
