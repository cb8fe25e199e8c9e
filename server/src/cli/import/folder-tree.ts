/**
 * The files of a folder as they are on the disk.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { FlagbackError } from "@flagback/schemas";
import { checkSize, type FileTree, isHidden, MAX_IMPORT_FILES, textOf } from "./file-tree.ts";

/** @throws FlagbackError `usage` where it can't be read, or holds more than an import takes */
export async function readFolder(folder: string): Promise<FileTree> {
  const paths: string[] = [];
  const skipped: string[] = [];
  try {
    await list(folder, "", paths, skipped);
  } catch (cause) {
    throw new FlagbackError(
      {
        code: "usage",
        message: `${folder} can't be read: ${(cause as Error).message}.`,
        hint: "Give --from a folder, or git:REF:FOLDER for one as Git keeps it.",
      },
      { cause },
    );
  }
  const sizes = await Promise.all(paths.map(async (path) => (await stat(join(folder, path))).size));
  checkSize(folder, sizes);
  const files = new Map<string, string>();
  for (const path of paths) files.set(path, textOf(path, await readFile(join(folder, path))));
  return { source: folder, files, skipped, labelsOf: () => ({}) };
}

/** Depth first, by name. Stops past what an import takes: the folder may be a whole disk. */
async function list(root: string, below: string, paths: string[], skipped: string[]): Promise<void> {
  const entries = await readdir(join(root, below), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (paths.length > MAX_IMPORT_FILES) return;
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (isHidden(path)) continue;
    if (entry.isDirectory()) await list(root, path, paths, skipped);
    else if (entry.isFile()) paths.push(path);
    else skipped.push(path);
  }
}
