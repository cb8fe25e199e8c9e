/**
 * Copies of a running database: everything that was committed when the copy ended, as a gzip file, whose own checksum and
 * length say whether it is whole.
 */
import { createReadStream } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import { pipeline, type Readable } from "node:stream";
import { constants, createGzip } from "node:zlib";
import { FlagbackError } from "@flagback/schemas";
import Database from "better-sqlite3";

/** Pages copied in one turn of the event loop: some tenths of a millisecond. */
const PAGES_PER_TURN = 64;
/** After so many pages (16 MiB) the copy is flushed beside the event loop, so that its end has little left to wait for. */
const PAGES_PER_FLUSH = 4_096;

/**
 * Copies a database into a file that must not be there, between its other work. What is committed meanwhile is in the copy
 * too, because it is one connection that writes and copies.
 */
export async function copyDatabase(database: Database.Database, file: string): Promise<void> {
  let pagesAtFlush = 0;
  let flushing: Promise<void> | undefined;
  try {
    await database.backup(file, {
      progress: ({ totalPages, remainingPages }) => {
        const copied = totalPages - remainingPages;
        if (flushing === undefined && copied - pagesAtFlush >= PAGES_PER_FLUSH) {
          pagesAtFlush = copied;
          flushing = flush(file).finally(() => {
            flushing = undefined;
          });
        }
        // A disk that can't keep up gets little more meanwhile.
        return flushing === undefined ? PAGES_PER_TURN : 1;
      },
    });
    forgetLinkKey(file);
  } catch (error) {
    throw new FlagbackError(
      {
        code: "database_unavailable",
        message: `The database can't be copied: ${(error as Error).message}.`,
        hint: "The data folder needs room for a second copy of the database while a backup is made. The server goes on.",
      },
      { cause: error },
    );
  } finally {
    await flushing;
  }
}

/** Who may read a backup must not be able to sign links that the server takes. A restored database makes itself another key. */
function forgetLinkKey(file: string): void {
  const copy = new Database(file);
  try {
    // Overwrites what it deletes.
    copy.pragma("secure_delete = on");
    copy.prepare("DELETE FROM meta WHERE key = 'linkKey'").run();
  } finally {
    copy.close();
  }
}

/** Whole or not, what is on its way goes to the disk. */
async function flush(file: string): Promise<void> {
  try {
    const handle = await open(file);
    await handle.datasync().finally(() => handle.close());
  } catch {
    // The copy itself says what is wrong with it.
  }
}

export interface Backup {
  readonly stream: Readable;
  /** Of the copy before it was packed. */
  readonly bytes: number;
}

/** Makes backups, one at a time. */
export class Backups {
  readonly #copy: (file: string) => Promise<void>;
  readonly #file: string;
  #isBusy = false;

  /** `file` is where the copy lies until it was read. */
  constructor(copy: (file: string) => Promise<void>, file: string) {
    this.#copy = copy;
    this.#file = file;
  }

  /** The copy is removed when its stream was read, or closed. @throws FlagbackError `overloaded` or `database_unavailable` */
  async make(): Promise<Backup> {
    if (this.#isBusy) {
      throw new FlagbackError({
        code: "overloaded",
        message: "Another backup is being made.",
        hint: "Wait until it is done: one at a time leaves the disk to the server.",
      });
    }
    this.#isBusy = true;
    try {
      // A server that was killed may have left one.
      await this.#remove();
      await this.#copy(this.#file);
      const { size } = await stat(this.#file);
      const packed = createGzip({ level: constants.Z_BEST_SPEED });
      pipeline(createReadStream(this.#file), packed, () => void this.#done());
      return { stream: packed, bytes: size };
    } catch (error) {
      await this.#done();
      throw error;
    }
  }

  async #done(): Promise<void> {
    // What can't be removed now, on a disk that fails, the next backup removes first.
    await this.#remove().catch(() => undefined);
    this.#isBusy = false;
  }

  async #remove(): Promise<void> {
    for (const ending of ["", "-journal", "-wal"]) await rm(`${this.#file}${ending}`, { force: true });
  }
}
