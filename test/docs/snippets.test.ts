import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { compile } from "../support/compile.ts";

// What readers copy must compile against what they install.

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What a snippet takes for granted, unless it declares it: the reader's own code. */
const READERS_OWN = {
  token: "const token: string",
  userId: "const userId: string",
  runId: "const runId: string",
  conversationId: "const conversationId: string",
  text: "const text: string",
  yamlAsObject: "const yamlAsObject: unknown",
  client: 'const client: import("@openfeature/server-sdk").Client',
  session: "const session: { token?: string }",
  request: 'const request: import("node:http").IncomingMessage',
  runYourAgent: "function runYourAgent(version: string, signal?: AbortSignal): Promise<string>",
  refund: "function refund(answer: string): Promise<void>",
};

const pages = ["README.md", "provider/README.md", "schemas/README.md", "docs/agent-toolkit.md", "docs/testing.md"];

const snippets = pages.flatMap((page) => {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match, i) => ({
    page,
    name: `${page}, snippet ${i + 1}`,
    // Beside the page, so that imports resolve from there.
    path: join(ROOT, dirname(page), `snippet-${i + 1}.ts`),
    code: withReadersOwn(match[1] ?? ""),
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

function withReadersOwn(code: string): string {
  const missing = Object.entries(READERS_OWN).filter(([name]) => !new RegExp(`(const|function) ${name}\\b`).test(code));
  return `${code}${missing.map(([, declaration]) => `declare ${declaration};\n`).join("")}`;
}
