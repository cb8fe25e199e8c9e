import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { runCli } from "../../server/src/cli/program.ts";
import { fakeIo } from "../cli/fake-io.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const pages = execFileSync("git", ["ls-files", "*.md"], { cwd: ROOT }).toString().trim().split("\n");

/** Every command line of flagback in the documentation, without what follows a comment sign. */
const lines = pages.flatMap((page) =>
  codeOf(readFileSync(join(ROOT, page), "utf8"))
    .flatMap((code) => [...code.matchAll(/(?:^|npx |npm run )flagback(?: --)? ([a-z][^#|;\n]*)/gm)])
    .map((match) => ({ page, line: (match[1] ?? "").trim() })),
);

describe("a command that the documentation names is one that flagback has", () => {
  test.each(lines)("$page: flagback $line", async ({ line }) => {
    const words = line.split(/\s+/);

    expect(await helpOf([])).toMatch(commandNamed(words[0]));
    const top = await helpOf(words.slice(0, 1));
    const isGroup = /^Commands:$/m.test(top);
    if (isGroup) expect(top).toMatch(commandNamed(words[1]));
    const help = isGroup ? await helpOf(words.slice(0, 2)) : top;
    for (const option of words.filter((word) => word.startsWith("--"))) expect(help).toContain(option);
  });

  test("and there are some", () => {
    expect(lines.length).toBeGreaterThan(15);
  });
});

/** A line of a help text that begins with the command. */
function commandNamed(name: string | undefined): RegExp {
  return new RegExp(`^  ${name}(\\s|$)`, "m");
}

async function helpOf(words: readonly string[]): Promise<string> {
  const io = fakeIo();
  expect(await runCli([...words, "--help"], io)).toBe(0);
  return io.written.stdout;
}

/** What stands in fences and in code spans. */
function codeOf(markdown: string): string[] {
  const fence = /^```[a-z]*\n([\s\S]*?)^```/gm;
  const fenced = [...markdown.matchAll(fence)].map((match) => match[1] ?? "");
  return [...fenced, ...[...markdown.replace(fence, "").matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? "")];
}
