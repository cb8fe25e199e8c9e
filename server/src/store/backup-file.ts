/**
 * A backup's file: written whole or not at all, and unpacked only where it is whole.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { access, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { FlagbackError } from "@flagback/schemas";
import { flushFolderSync } from "./database-files.ts";

/** Only its owner may read it: it holds everything, prompts and webhooks included. */
const OWNER_ONLY = 0o600;
/** How every SQLite database begins. */
const SQLITE_MAGIC = Buffer.from("SQLite format 3\0");

export interface BackupSize {
  readonly bytes: number;
  readonly unpackedBytes: number;
}

/**
 * Writes a backup. Until all of it is there and was read back, it has another name.
 * @throws FlagbackError `backup_invalid` where it is not whole
 */
export async function writeBackup(bytes: AsyncIterable<Uint8Array>, file: string): Promise<BackupSize> {
  const partial = `${file}.${process.pid}.partial`;
  try {
    await pipeline(arriving(bytes, file), createWriteStream(partial, { mode: OWNER_ONLY, flush: true }));
    const unpackedBytes = await unpackBackup(
      partial,
      new Writable({ write: (_chunk, _encoding, done) => done() }),
      file,
    );
    const { size } = await sizeOf(partial);
    await rename(partial, file);
    flushFolderSync(dirname(file));
    return { bytes: size, unpackedBytes };
  } catch (error) {
    throw error instanceof FlagbackError ? error : unwritable(file, error as Error);
  } finally {
    await rm(partial, { force: true });
  }
}

function unwritable(file: string, cause: Error): FlagbackError {
  return new FlagbackError(
    {
      code: "usage",
      message: `${file} can't be written: ${cause.message}.`,
      hint: "Choose a file in a folder that is there, may be written, and has room.",
    },
    { cause },
  );
}

/** The bytes as they come; a connection that ends too early is no fault of the file's place. */
async function* arriving(bytes: AsyncIterable<Uint8Array>, file: string): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (error) {
    throw invalidBackup(file, "the connection ended before all of it came", error);
  }
}

/**
 * Unpacks a backup into a stream, and answers how many bytes it had. gzip's own checksum says whether it is whole.
 * @param named how the file is called where it is complained of
 * @throws FlagbackError `backup_invalid`
 */
export async function unpackBackup(file: string, into: Writable, named = file): Promise<number> {
  let begin = Buffer.alloc(0);
  let unpackedBytes = 0;
  try {
    await access(file);
    await pipeline(
      createReadStream(file),
      createGunzip(),
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          unpackedBytes += chunk.length;
          if (begin.length < SQLITE_MAGIC.length) begin = Buffer.concat([begin, chunk]);
          yield chunk;
        }
      },
      into,
    );
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (!code.startsWith("Z_") && code !== "ENOENT" && code !== "EISDIR") throw error;
    throw invalidBackup(named, message, error);
  }
  if (!begin.subarray(0, SQLITE_MAGIC.length).equals(SQLITE_MAGIC)) {
    throw invalidBackup(named, "what it holds is no database");
  }
  return unpackedBytes;
}

export function invalidBackup(file: string, what: string, cause?: unknown): FlagbackError {
  return new FlagbackError(
    {
      code: "backup_invalid",
      message: `${file} is no whole backup: ${what}.`,
      hint: "Take another one that flagback backup wrote. Nothing was changed.",
    },
    { cause },
  );
}

async function sizeOf(file: string): Promise<{ readonly size: number }> {
  const handle = await open(file);
  return handle.stat().finally(() => handle.close());
}
