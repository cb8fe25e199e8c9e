import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { compile } from "../support/compile.ts";

// What readers copy must compile against what they install.

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What a snippet takes for granted: the reader's own code. */
const READERS_OWN = `
declare const token: string, userId: string, runId: string, text: string;
declare const yamlAsObject: unknown;
declare function runYourAgent(version: string): Promise<string>;
declare function refund(answer: string): Promise<void>;
`;

const pages = ["README.md", "provider/README.md", "schemas/README.md", "docs/testing.md"];

const snippets = pages.flatMap((page) => {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match, i) => ({
    page,
    name: `${page}, snippet ${i + 1}`,
    // Beside the page, so that imports resolve from there.
    path: join(ROOT, dirname(page), `snippet-${i + 1}.ts`),
    code: `${match[1]}${READERS_OWN}`,
  }));
});

describe("a snippet of the documentation compiles", () => {
  let problems: ReturnType<typeof compile> = new Map();
  beforeAll(() => {
    problems = compile(new Map(snippets.map(({ path, code }) => [path, code])));
  });

  test.each(snippets)("$name", ({ path }) => {
    expect(problems.get(path)).toEqual([]);
  });

  test("and there is one in each", () => {
    expect([...new Set(snippets.map(({ page }) => page))]).toEqual(pages);
  });
});
