/**
 * A small file beside the database that says how far it had come. SQLite takes a journal that was cut off for one that ends
 * there, as it must after a crash, and what was acknowledged would be gone without a word. The witness is written after what
 * it speaks of is durable, so a database that ends before it has lost something.
 */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type Database from "better-sqlite3";

/** What is lost within so long of being written is not noticed. */
const WRITE_EVERY_MS = 1_000;

interface Position {
  readonly epoch: string;
  /** The newest audit row's number. */
  readonly audit: number;
  /** The ledgers' clock. */
  readonly tick: number;
}

export function witnessFile(databaseFile: string): string {
  return `${databaseFile}-witness`;
}

/** What a database has lost by its witness, in words; `undefined` where that is nothing, or there is no witness. */
export function lostSinceWitness(database: Database.Database): string | undefined {
  const seen = readWitness(witnessFile(database.name));
  const is = positionOf(database);
  if (seen === undefined || is.epoch !== seen.epoch) return undefined;
  if (is.audit < seen.audit) return `it ends at audit row ${is.audit}, and row ${seen.audit} was acknowledged`;
  if (is.tick < seen.tick)
    return `its counts end at second ${is.tick}, and those of second ${seen.tick} were acknowledged`;
  return undefined;
}

/** Writes the witness now and then. */
export class Witness {
  readonly #database: Database.Database;
  #timer: NodeJS.Timeout | undefined;

  constructor(database: Database.Database) {
    this.#database = database;
  }

  /** Something was committed. */
  note(): void {
    if (this.#timer) return;
    this.#timer = setTimeout(() => this.write(), WRITE_EVERY_MS);
    this.#timer.unref();
  }

  /** Writes it now. It is a help and not a promise: a disk that refuses it has refused graver things. */
  write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      const file = witnessFile(this.#database.name);
      writeFileSync(`${file}.new`, JSON.stringify(positionOf(this.#database)), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch {
      // The one before stays, and is as true as it was.
    }
  }
}

function positionOf(database: Database.Database): Position {
  const meta = database.prepare("SELECT value FROM meta WHERE key = ?").pluck();
  const audit = database.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").pluck().get();
  return { epoch: String(meta.get("epoch") ?? ""), audit: Number(audit ?? 0), tick: Number(meta.get("tick") ?? 0) };
}

function readWitness(file: string): Position | undefined {
  try {
    const { epoch, audit, tick } = JSON.parse(readFileSync(file, "utf8")) as Partial<Position>;
    return { epoch: String(epoch), audit: Number(audit), tick: Number(tick) };
  } catch {
    // None yet, or cut off with the machine's power.
    return undefined;
  }
}
