import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { compile } from "../support/compile.ts";

// What readers copy from the page about frameworks must compile against what they install.

const DOCS = fileURLToPath(new URL("../../docs/", import.meta.url));

/** The compiler reads the types of every framework. */
const PATIENCE_MS = 180_000;

/** What a snippet takes for granted: the reader's own code. */
const READERS_OWN = `
declare const client: import("@openfeature/server-sdk").Client, conversationId: string, question: string;
declare const orders: { find(id: string): Promise<string>; refund(id: string): Promise<string> };
declare function respond(response: Response): void;
`;

const page = readFileSync(`${DOCS}agent-frameworks.md`, "utf8");
const snippets = [...page.matchAll(/^```ts\n([\s\S]*?)^```/gm)].flatMap(([, code = ""], i) => {
  // Each snippet for the AI SDK holds for both versions, which are installed under other names here.
  const packages = code.includes('from "ai"') ? ["ai-v6", "ai-v7"] : ["ai"];
  return packages.map((ai) => ({
    name: `${i + 1}${packages.length > 1 ? `, with ${ai} as ai` : ""}`,
    path: `${DOCS}snippet-${i + 1}-${ai}.ts`,
    code: `${code.replace('from "ai"', `from "${ai}"`)}${READERS_OWN}`,
  }));
});

describe("a snippet about frameworks compiles", () => {
  let problems: ReturnType<typeof compile> = new Map();
  beforeAll(() => {
    problems = compile(new Map(snippets.map(({ path, code }) => [path, code])));
  }, PATIENCE_MS);

  test.each(snippets)("$name", ({ path }) => {
    expect(problems.get(path)).toEqual([]);
  });
});

test("there is a snippet for each adapter", () => {
  for (const name of ["ai-sdk", "langchain", "openai-agents"]) {
    expect(page).toContain(`"@flagback/provider/${name}"`);
  }
});
