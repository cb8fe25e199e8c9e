/**
 * Opens a database file: locked, in WAL mode, checked and migrated; and says what its failures mean.
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { FlagbackError } from "@flagback/schemas";
import Database from "better-sqlite3";
import { inUse, isBusy } from "./database-files.ts";
import { migrate } from "./migrations.ts";

/** Pages kept in memory, in KiB. The working set is the open ticks and the newest runs. */
const CACHE_KIB = 32 * 1024;
/** The WAL is folded into the file every so many pages: seldom enough to batch, often enough to stay small. */
const CHECKPOINT_PAGES = 2_000;

/**
 * Opens or creates a database.
 * @throws FlagbackError `database_in_use` where another process has it, `database_newer`, or `database_corrupt`.
 */
export function openDatabase(file: string): Database.Database {
  mkdirSync(dirname(file), { recursive: true });
  let database: Database.Database | undefined;
  try {
    database = new Database(file, { timeout: 0 });
    // An exclusive lock keeps a second server off the file for as long as this process lives.
    database.pragma("locking_mode = EXCLUSIVE");
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma(`cache_size = -${CACHE_KIB}`);
    database.pragma(`wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    database.exec("BEGIN IMMEDIATE; COMMIT");
    const check = database.pragma("quick_check(1)", { simple: true });
    if (check !== "ok") throw corrupt(file, String(check));
    migrate(database, file);
    return database;
  } catch (error) {
    database?.close();
    throw openProblem(file, error);
  }
}

/** What it means that a file can't be opened or changed. */
export function openProblem(file: string, error: unknown): unknown {
  if (error instanceof FlagbackError || !(error instanceof Database.SqliteError)) return error;
  if (isBusy(error)) return inUse(file, error);
  if (error.code === "SQLITE_NOTADB" || error.code.startsWith("SQLITE_CORRUPT"))
    return corrupt(file, error.message, error);
  return unavailable(error);
}

export function corrupt(file: string, what: string, cause?: unknown): FlagbackError {
  return new FlagbackError(
    {
      code: "database_corrupt",
      message: `${file} is damaged: ${what}.`,
      hint: "Restore a copy, or move the file away to start empty. Nothing was changed.",
    },
    { cause },
  );
}

/** What a failing disk means to whoever asked for something. */
export function unavailable(error: unknown): FlagbackError {
  return new FlagbackError(
    {
      code: "database_unavailable",
      message: `The database can't be used: ${(error as Error).message}.`,
      hint: "Check the disk's space and health. Nothing of this change was written; what is held is still served.",
    },
    { cause: error },
  );
}
