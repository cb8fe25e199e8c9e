/**
 * The files below a folder, wherever they are kept; and how much of them an import takes.
 */
import { FlagbackError } from "@flagback/schemas";

export interface FileTree {
  /** Where the files are, for people. */
  readonly source: string;
  /** Texts by their path below the folder, with `/` between its parts. */
  readonly files: ReadonlyMap<string, string>;
  /** Paths of what is no plain file, such as a symbolic link. */
  readonly skipped: readonly string[];
  /** Says of a file's version where it comes from; none where that says nothing to others. */
  labelsOf(path: string): Readonly<Record<string, string>>;
}

/** Files that one import reads. */
export const MAX_IMPORT_FILES = 2_000;
/** Their size in all, in bytes: what the server takes in one request. */
export const MAX_IMPORT_BYTES = 1024 * 1024;

/** @throws FlagbackError `usage` where there are more files than an import reads, or larger ones */
export function checkSize(source: string, sizes: readonly number[]): void {
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  if (sizes.length <= MAX_IMPORT_FILES && bytes <= MAX_IMPORT_BYTES) return;
  throw new FlagbackError({
    code: "usage",
    message: `${source} has ${sizes.length} files of ${bytes} bytes; one import takes ${MAX_IMPORT_FILES} files of ${MAX_IMPORT_BYTES} bytes.`,
    hint: "Import its folders one by one.",
  });
}

/** The file's text. @throws FlagbackError `usage` where it is not UTF-8 */
export function textOf(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FlagbackError(
      {
        code: "usage",
        message: `${path} is not UTF-8.`,
        hint: "Versions are made of text; move other files elsewhere.",
      },
      { cause },
    );
  }
}

/** Hidden files and folders are tools' own, and installed packages nobody's versions. */
export function isHidden(path: string): boolean {
  return path.split("/").some((part) => part.startsWith(".") || part === "node_modules");
}
