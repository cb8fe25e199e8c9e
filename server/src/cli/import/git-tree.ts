/**
 * The files of a folder as Git keeps them at a commit, read from the object database: whatever lies about in the working tree
 * is no part of it. Uses the `git` program, without a shell.
 */
import { execFile } from "node:child_process";
import { FlagbackError } from "@flagback/schemas";
import { checkSize, type FileTree, isHidden, MAX_IMPORT_BYTES, textOf } from "./file-tree.ts";

const TIMEOUT_MS = 30_000;
/** What Git may answer: the files, a line about each, and somewhat more for what is left out of both. */
const MAX_ANSWER_BYTES = 16 * MAX_IMPORT_BYTES;

export interface GitPlace {
  /** A folder in the repository's working tree. */
  readonly workingFolder: string;
  /** Branch, tag or commit. */
  readonly ref: string;
  /** Below the repository's root; the working folder's own place where it is left out. */
  readonly path?: string;
}

/** @throws FlagbackError `usage` where there is no such commit or folder, or no `git` */
export async function readGit({ workingFolder, ref, path }: GitPlace): Promise<FileTree> {
  const git = (...args: string[]) => run(workingFolder, args);
  const commit = (await git("rev-parse", "--verify", "--end-of-options", `${ref}^{commit}`)).toString().trim();
  const prefix = path ?? (await git("rev-parse", "--show-prefix")).toString().replace(/\n$/, "");
  const folder = prefix.replace(/^\/+|\/+$/g, "");
  const source = `git:${ref}:${folder}`;
  const listed = await git("ls-tree", "-r", "-z", "-l", "--full-tree", `${commit}:${folder}`);
  const entries = listed
    .toString()
    .split("\0")
    .flatMap((line) => entryOf(line) ?? [])
    .filter((entry) => !isHidden(entry.path));
  const files = entries.filter(({ isFile }) => isFile);
  checkSize(
    source,
    files.map(({ bytes }) => bytes),
  );
  const contents = await readBlobs(workingFolder, files);
  return {
    source,
    files: contents,
    skipped: entries.filter(({ isFile }) => !isFile).map((entry) => entry.path),
    labelsOf: (file) => ({
      "git.commit": commit,
      "git.path": (folder === "" ? file : `${folder}/${file}`).slice(-256),
    }),
  };
}

interface Entry {
  readonly object: string;
  readonly bytes: number;
  readonly path: string;
  /** Neither a symbolic link nor a submodule. */
  readonly isFile: boolean;
}

/** A line of `ls-tree -l -z`: mode, type, object, size, then a tab and the path. */
function entryOf(line: string): Entry | undefined {
  const [, mode, object = "", bytes, path = ""] = /^(\d+) \w+ ([0-9a-f]+) +(\d+|-)\t(.+)$/s.exec(line) ?? [];
  return mode === undefined ? undefined : { object, bytes: Number(bytes) || 0, path, isFile: mode.startsWith("100") };
}

async function readBlobs(workingFolder: string, entries: readonly Entry[]): Promise<Map<string, string>> {
  if (entries.length === 0) return new Map();
  const answer = await run(workingFolder, ["cat-file", "--batch"], entries.map(({ object }) => `${object}\n`).join(""));
  const files = new Map<string, string>();
  let at = 0;
  for (const { path, object, bytes } of entries) {
    // `<object> blob <size>`, a line feed, the content, a line feed.
    const head = `${object} blob ${bytes}\n`;
    if (answer.toString("latin1", at, at + head.length) !== head) throw new Error(`git answered no blob for ${path}`);
    at += head.length;
    files.set(path, textOf(path, answer.subarray(at, at + bytes)));
    at += bytes + 1;
  }
  return files;
}

function run(workingFolder: string, args: readonly string[], input = ""): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      "git",
      ["-C", workingFolder, ...args],
      { encoding: "buffer", maxBuffer: MAX_ANSWER_BYTES, timeout: TIMEOUT_MS },
      (error, stdout, stderr) => (error ? reject(problemOf(error, stderr)) : resolve(stdout)),
    );
    // What it did not read it did not need; its status says so.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
  });
}

function problemOf(error: Error, stderr: Buffer): FlagbackError {
  const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
  const said = stderr
    .toString()
    .trim()
    .replace(/^fatal: /, "")
    .replace(/\.$/, "");
  return new FlagbackError(
    {
      code: "usage",
      message: isMissing ? "There is no git program here." : `Git says: ${said || error.message}.`,
      hint: isMissing
        ? "Install git, or import the folder as it is on the disk: --from DIR without --git."
        : "Give a branch, tag or commit, and a folder that it has: --from DIR --git REF, or --from git:REF:FOLDER.",
    },
    { cause: error },
  );
}
