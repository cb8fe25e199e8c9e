/**
 * One file that is always whole: it is replaced by a rename, never written to. Whoever reads it meets the old text or the
 * new one, also when several processes replace it at once or one of them is killed.
 */
import { randomBytes } from "node:crypto";
import { renameSync, rmSync } from "node:fs";
import { constants, open, opendir, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { LEFTOVER_AFTER_MS, MAX_CACHE_FOLDER_ENTRIES, MAX_LEFTOVERS_REMOVED } from "../limits.ts";

export type FileContent =
  | { readonly kind: "missing" }
  | { readonly kind: "tooLarge" }
  | { readonly kind: "bytes"; readonly bytes: Buffer };

/** @throws where there is something that can't be read */
export async function readBounded(path: string, maxBytes: number): Promise<FileContent> {
  try {
    // Without blocking: a pipe in the file's place would hold a thread for ever.
    const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const { size } = await handle.stat();
      return size > maxBytes ? { kind: "tooLarge" } : { kind: "bytes", bytes: await handle.readFile() };
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (codeOf(error) === "ENOENT") return { kind: "missing" };
    throw error;
  }
}

/**
 * Replaces the file, readable by its owner alone. Too large a text changes nothing, and neither does one that is not wanted
 * any more when it is there in full: it is asked in the turn in which the file is replaced.
 * @throws where it can't be written; then the file is as it was
 */
export async function replaceFile(
  path: string,
  pieces: Iterable<string>,
  maxBytes: number,
  isWanted: () => boolean = () => true,
): Promise<"written" | "tooLarge" | "unwanted"> {
  const temporary = `${path}.${randomBytes(8).toString("hex")}.tmp`;
  // Exclusively: whatever stands in the way, such as somebody's link, is not written to.
  const handle = await open(temporary, "wx", 0o600);
  try {
    try {
      let left = maxBytes;
      for (const piece of pieces) {
        const bytes = Buffer.from(piece);
        left -= bytes.length;
        if (left < 0) {
          await remove(temporary);
          return "tooLarge";
        }
        await handle.writeFile(bytes);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (!isWanted()) {
      await remove(temporary);
      return "unwanted";
    }
    renameSync(temporary, path);
    return "written";
  } catch (error) {
    await remove(temporary);
    throw error;
  }
}

/**
 * Removes the file in this turn of the event loop; one that is not there is removed.
 * @throws where it can't be
 */
export function removeNow(path: string): void {
  rmSync(path, { force: true });
}

/** Moves the file out of the way, over the one that was set aside before. Answers where it is. */
export async function setAside(path: string): Promise<string> {
  const aside = `${path}.damaged`;
  await rename(path, aside);
  return aside;
}

/** Removes what processes left that died while they replaced the file. Looks at a bounded part of the folder. Never throws. */
export async function removeLeftovers(path: string, nowMs: number): Promise<void> {
  try {
    const prefix = `${basename(path)}.`;
    let seen = 0;
    let removed = 0;
    for await (const { name } of await opendir(dirname(path))) {
      seen += 1;
      if (seen > MAX_CACHE_FOLDER_ENTRIES || removed >= MAX_LEFTOVERS_REMOVED) return;
      if (!name.startsWith(prefix) || !/^[0-9a-f]{16}\.tmp$/.test(name.slice(prefix.length))) continue;
      const leftover = join(dirname(path), name);
      if (nowMs - (await stat(leftover)).mtimeMs < LEFTOVER_AFTER_MS) continue;
      await remove(leftover);
      removed += 1;
    }
  } catch {
    // A folder that can't be read costs space at worst.
  }
}

async function remove(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch {
    // It is gone, or it becomes a leftover.
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
