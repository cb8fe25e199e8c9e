/**
 * What a command may touch of the process it runs in. Tests pass their own.
 */
import { readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { text } from "node:stream/consumers";

/** Somewhere to write text. */
export interface Sink {
  readonly isTty: boolean;
  /** Width of the terminal in characters. */
  readonly columns: number;
  write(text: string): void;
}

export interface Io {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** True when a person can answer a question. */
  readonly isInteractive: boolean;
  /** Asks on standard error, so that standard output stays the command's own. */
  ask(question: string): Promise<string>;
  /** Text of a file; `-` is standard input. */
  read(path: string): Promise<string>;
  /** Paths of the files in a folder and in those inside it; `undefined` where it is none. */
  filesIn(path: string): Promise<string[] | undefined>;
  /** Replaces a file as a whole: whoever reads it sees the text before or this one. */
  write(path: string, text: string): Promise<void>;
  /** Aborted by SIGINT, SIGTERM or SIGHUP. From the first call on, these signals no longer end the process by themselves. */
  untilInterrupted(): AbortSignal;
  /** Aborted by the end of the parent process, where that keeps a channel to us. */
  untilOrphaned(): AbortSignal;
}

const DEFAULT_COLUMNS = 100;

export function processIo(): Io {
  let interrupted: AbortController | undefined;
  return {
    stdout: sink(process.stdout),
    stderr: sink(process.stderr),
    env: process.env,
    isInteractive: process.stdin.isTTY === true && process.stderr.isTTY === true,
    async ask(question) {
      const lines = createInterface({ input: process.stdin, output: process.stderr });
      try {
        return await lines.question(question);
      } finally {
        lines.close();
      }
    },
    read: (path) => (path === "-" ? text(process.stdin) : readFile(path, "utf8")),
    filesIn,
    write: replaceFile,
    untilInterrupted() {
      if (interrupted === undefined) {
        const controller = new AbortController();
        for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => controller.abort());
        interrupted = controller;
      }
      return interrupted.signal;
    },
    untilOrphaned() {
      const orphaned = new AbortController();
      if (process.channel !== undefined) {
        process.once("disconnect", () => orphaned.abort());
        // A listener holds the channel open, and the channel would hold the process after its work is done.
        process.channel.unref();
      }
      return orphaned.signal;
    },
  };
}

async function filesIn(path: string): Promise<string[] | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) return undefined;
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function replaceFile(path: string, content: string): Promise<void> {
  const beside = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(beside, content);
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}

function sink(stream: NodeJS.WriteStream): Sink {
  return {
    get isTty() {
      return stream.isTTY === true;
    },
    get columns() {
      return stream.columns ?? DEFAULT_COLUMNS;
    },
    write(text) {
      stream.write(text);
    },
  };
}
