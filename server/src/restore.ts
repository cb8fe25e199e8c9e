/**
 * Makes a data folder of a backup: checked whole before anything is replaced, and with an epoch of its own, so that nobody
 * takes its history for the one that went on after the backup.
 */
import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, readdir, rename, rm, rmdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Actor, FlagbackError } from "@flagback/schemas";
import { Engine } from "./engine/engine.ts";
import { RING_SIZE } from "./engine/history.ts";
import { LedgerBook } from "./ledger/ledger-book.ts";
import { RUN_WINDOW } from "./ledger/recent-runs.ts";
import { TickClock } from "./ledger/tick-clock.ts";
import { invalidBackup, unpackBackup } from "./store/backup-file.ts";
import { assertUnlocked, DATABASE_FILE, databaseFiles, flushFolderSync } from "./store/database-files.ts";
import { renewHistory } from "./store/renew-history.ts";
import { openSqliteStore } from "./store/sqlite.ts";

const RESTORER: Actor = { kind: "system", name: "restore" };

export interface RestoreOptions {
  readonly file: string;
  readonly dataDir: string;
  /** Restore into a folder that is not empty. A database that is there is moved aside. */
  readonly force: boolean;
  /** Engage every kill switch at `*` in the restored state. */
  readonly stop: boolean;
  readonly nowMs: number;
}

export interface Restored {
  readonly epoch: string;
  readonly revision: number;
  /** When the newest change in the backup was made; null where it has none. */
  readonly newestChangeAt: string | null;
  /** Where the database went that was there before; null where there was none. */
  readonly movedTo: string | null;
}

/**
 * Restores a backup while no server runs on the folder.
 * @throws FlagbackError `backup_invalid`, `data_folder_not_empty`, `database_in_use` or `database_newer`; then the folder
 * is as it was
 */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { file, nowMs, force } = options;
  const dataDir = resolve(options.dataDir);
  const isNew = (await mkdir(dataDir, { recursive: true })) !== undefined;
  if (!force) await assertEmpty(dataDir);
  assertUnlocked(join(dataDir, DATABASE_FILE));
  const work = join(dataDir, `restoring-${process.pid}`);
  try {
    await mkdir(work, { mode: 0o700 });
    const unpacked = join(work, DATABASE_FILE);
    await unpackBackup(file, createWriteStream(unpacked, { mode: 0o600 }), file);
    const found = await renew(unpacked, options);
    const movedTo = await moveAside(dataDir, nowMs);
    for (const name of await readdir(work)) await rename(join(work, name), join(dataDir, name));
    flushFolderSync(dataDir);
    return { ...found, movedTo };
  } finally {
    await rm(work, { recursive: true, force: true });
    // A folder with something in it, such as what was restored, stays.
    if (isNew) await rmdir(dataDir).catch(() => {});
  }
}

/** Checks the unpacked database and gives it a history of its own. */
async function renew(unpacked: string, { file, stop, nowMs }: RestoreOptions): Promise<Omit<Restored, "movedTo">> {
  const newestChangeAt = inBackup(file, () => renewHistory(unpacked, nowMs));
  const store = inBackup(file, () => openSqliteStore(unpacked));
  try {
    const loaded = store.load({ history: RING_SIZE, runs: RUN_WINDOW });
    const engine = new Engine({ store, loaded, now: () => nowMs });
    const book = new LedgerBook({
      world: () => engine.world,
      clock: new TickClock(loaded.tick + 1, () => 0),
      loaded,
    });
    engine.attach(book);
    book.loseOpen();
    await engine.flushLedger();
    if (stop)
      await engine.execute(
        { kind: "stopEverything", reason: "restored from a backup", entryId: randomUUID() },
        RESTORER,
      );
    const { head, epoch } = engine.history;
    return { epoch, revision: head.revision, newestChangeAt };
  } finally {
    store.close();
  }
}

/** What is wrong with the unpacked file is wrong with the backup. */
function inBackup<Result>(file: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof FlagbackError) || error.code !== "database_corrupt") throw error;
    throw invalidBackup(file, error.message.replace(/\.$/, ""), error);
  }
}

async function assertEmpty(dataDir: string): Promise<void> {
  const names = await readdir(dataDir);
  if (names.length === 0) return;
  throw new FlagbackError({
    code: "data_folder_not_empty",
    message: `${dataDir} is not empty: it has ${names.slice(0, 3).join(", ")}${names.length > 3 ? " and more" : ""}.`,
    hint: "Restore into a new folder, or use --force: the database that is there is then moved aside and not deleted.",
  });
}

/** Moves the database's files into a folder beside them, and answers which. */
async function moveAside(dataDir: string, nowMs: number): Promise<string | null> {
  const there = new Set(await readdir(dataDir));
  const files = databaseFiles().filter((name) => there.has(name));
  if (files.length === 0) return null;
  const folder = join(dataDir, `replaced-${new Date(nowMs).toISOString().replace(/[:.]/g, "-")}`);
  await mkdir(folder, { mode: 0o700 });
  // The journal first: without its database it is nothing, but the database without it would look whole.
  for (const name of files) await rename(join(dataDir, name), join(folder, name));
  return folder;
}
