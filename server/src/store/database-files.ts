/**
 * The files of a data folder, and whether a server has them.
 */
import { closeSync, existsSync, fsyncSync, openSync } from "node:fs";
import { FlagbackError } from "@flagback/schemas";
import Database from "better-sqlite3";

export const DATABASE_FILE = "flagback.db";

/** Names of what belongs to the database, the journal first. */
export function databaseFiles(): string[] {
  return ["-journal", "-wal", "-shm", "-witness", ""].map((ending) => DATABASE_FILE + ending);
}

/** Makes what was renamed in a folder durable. */
export function flushFolderSync(folder: string): void {
  // Windows opens no folders, and needs no flush of them.
  if (process.platform === "win32") return;
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** The refusal of a file that a server has. */
export function inUse(file: string, cause?: unknown): FlagbackError {
  return new FlagbackError(
    {
      code: "database_in_use",
      message: `${file} is in use by another process.`,
      hint: "One server owns a database; stop the other one, or give this one its own --data-dir.",
    },
    { cause },
  );
}

export function isBusy(error: unknown): boolean {
  if (!(error instanceof Database.SqliteError)) return false;
  return error.code.startsWith("SQLITE_BUSY") || error.code.startsWith("SQLITE_LOCKED");
}

/** Says whether a server has the file, without changing it: it may be damaged. @throws FlagbackError `database_in_use` */
export function assertUnlocked(file: string): void {
  if (!existsSync(file)) return;
  let database: Database.Database | undefined;
  try {
    database = new Database(file, { readonly: true, timeout: 0 });
    database.pragma("schema_version");
  } catch (error) {
    if (isBusy(error)) throw inUse(file, error);
    // What else is wrong with it does not matter: it is being replaced.
  } finally {
    database?.close();
  }
}
