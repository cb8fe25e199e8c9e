/**
 * Opens a database file: locked, in WAL mode, checked and migrated; and says what its failures mean.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { FlagbackError } from "@flagback/schemas";
import Database from "better-sqlite3";
import { flushFolderSync, inUse, isBusy } from "./database-files.ts";
import { assertNotNewer, migrate } from "./migrations.ts";
import { applySettings } from "./sqlite-settings.ts";
import { lostSinceWitness, witnessFile } from "./witness.ts";

/** Failures that say nothing of what is in the file. */
const MACHINE_FAILURES = /^SQLITE_(IOERR|FULL|CANTOPEN|READONLY|PERM|AUTH|NOMEM|NOLFS)/;

/**
 * Opens or creates a database. One that is refused is left as it is, with its journal.
 * @throws FlagbackError `database_in_use` where another process has it, `database_newer`, or `database_corrupt`.
 */
export function openDatabase(file: string): Database.Database {
  mkdirSync(dirname(file), { recursive: true });
  let database: Database.Database | undefined;
  try {
    if (existsSync(file)) inspect(file);
    else create(file);
    database = new Database(file, { timeout: 0 });
    applySettings(database);
    // Takes the lock, which keeps a second server off the file for as long as this process lives.
    database.exec("BEGIN IMMEDIATE; COMMIT");
    migrate(database, file);
    return database;
  } catch (error) {
    database?.close();
    throw openProblem(file, error);
  }
}

/** Looks at a database without changing it: whoever may write also folds the journal in when it closes. */
function inspect(file: string): void {
  // SQLite would take it for a new database.
  if (statSync(file).size === 0) throw corrupt(file, "it is empty");
  const database = new Database(file, { timeout: 0, readonly: true });
  try {
    const check = database.pragma("quick_check(1)", { simple: true });
    if (check !== "ok") throw corrupt(file, String(check));
    assertNotNewer(database, file);
    if (!isOurs(database)) throw corrupt(file, "it is no database of flagback");
    const lost = lostSinceWitness(database);
    if (lost === undefined) return;
    throw corrupt(file, lost, undefined, ` To go on without what is lost, delete ${witnessFile(file)}.`);
  } finally {
    database.close();
  }
}

/** Makes a database under another name first, so that one that is not whole never has this name. */
function create(file: string): void {
  const journal = statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  if (journal > 0) throw corrupt(file, "its journal is there, and the database is not");
  const made = `${file}.new`;
  for (const ending of ["", "-wal", "-shm", "-journal"]) rmSync(made + ending, { force: true });
  const database = new Database(made);
  try {
    database.pragma("journal_mode = WAL");
    migrate(database, made);
    database.prepare("INSERT INTO meta VALUES ('epoch', ?)").run(newEpoch());
  } finally {
    database.close();
  }
  // What a witness of another database says is not about this one.
  rmSync(witnessFile(file), { force: true });
  renameSync(made, file);
  flushFolderSync(dirname(file));
}

/** A database's random id. */
export function newEpoch(): string {
  return randomBytes(16).toString("hex");
}

/** Whether the tables are flagback's. */
export function isOurs(database: Database.Database): boolean {
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all();
  if (!["meta", "audit", "outbox", "documents"].every((name) => tables.includes(name))) return false;
  return database.prepare("SELECT 1 FROM meta WHERE key = 'epoch'").get() !== undefined;
}

/** What it means that a file can't be opened, or what is in it not be read at the start. */
export function openProblem(file: string, error: unknown): unknown {
  if (error instanceof FlagbackError || !(error instanceof Database.SqliteError)) return error;
  if (isBusy(error)) return inUse(file, error);
  if (MACHINE_FAILURES.test(error.code)) return unavailable(error);
  // Our statements fit what we wrote: where they fail, something else is in the file.
  return corrupt(file, error.message, error);
}

export function corrupt(file: string, what: string, cause?: unknown, otherWay = ""): FlagbackError {
  return new FlagbackError(
    {
      code: "database_corrupt",
      message: `${file} is damaged: ${what}.`,
      hint: `Nothing was changed. Restore the newest backup: flagback restore FILE --data-dir ${dirname(file)} --force.${otherWay}`,
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
