/** A process that a test can look into: what was written, what is asked, which files there are. */
import type { Io } from "../../server/src/cli/io.ts";

export interface FakeIo extends Io {
  readonly written: { stdout: string; stderr: string };
  /** What there is, with what was written into it. */
  readonly files: Record<string, string>;
  readonly questions: string[];
}

export function fakeIo(
  given: { env?: Record<string, string>; files?: Record<string, string>; isInteractive?: boolean; reply?: string } = {},
): FakeIo {
  const written = { stdout: "", stderr: "" };
  const questions: string[] = [];
  const files = { ...given.files };
  const sink = (name: "stdout" | "stderr") => ({
    isTty: false,
    columns: 100,
    write(text: string) {
      written[name] += text;
    },
  });
  return {
    written,
    questions,
    files,
    stdout: sink("stdout"),
    stderr: sink("stderr"),
    env: given.env ?? {},
    isInteractive: given.isInteractive ?? false,
    async ask(question) {
      questions.push(question);
      return given.reply ?? "";
    },
    async read(path) {
      const text = files[path];
      if (text === undefined) throw new Error("no such file");
      return text;
    },
    async filesIn(path) {
      const inside = Object.keys(files).filter((file) => file.startsWith(`${path}/`));
      return inside.length > 0 ? inside : undefined;
    },
    async write(path, text) {
      files[path] = text;
    },
    untilInterrupted: () => new AbortController().signal,
    untilOrphaned: () => new AbortController().signal,
  };
}
