import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { beforeAll, describe, expect, test } from "vitest";

// What readers copy must compile against what they install.

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What a snippet takes for granted: the reader's own code. */
const READERS_OWN = `
declare const token: string, userId: string, runId: string, text: string;
declare const yamlAsObject: unknown;
declare function runYourAgent(version: string): Promise<string>;
declare function refund(answer: string): Promise<void>;
`;

const snippets = ["README.md", "provider/README.md", "schemas/README.md"].flatMap((page) => {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match, i) => ({
    name: `${page}, snippet ${i + 1}`,
    // Beside the page, so that imports resolve from there.
    path: join(ROOT, dirname(page), `snippet-${i + 1}.ts`),
    code: `${match[1]}${READERS_OWN}`,
  }));
});

describe("a snippet of a README compiles", () => {
  let problems: ReadonlyMap<string, readonly string[]> = new Map();
  beforeAll(() => {
    problems = compile(new Map(snippets.map(({ path, code }) => [path, code])));
  });

  test.each(snippets)("$name", ({ path }) => {
    expect(problems.get(path)).toEqual([]);
  });

  test("and there is one in each", () => {
    expect(snippets).toHaveLength(3);
  });
});

/** Type errors by path. The files exist in memory only. */
function compile(files: ReadonlyMap<string, string>): ReadonlyMap<string, readonly string[]> {
  const base = ts.readConfigFile(join(ROOT, "tsconfig.base.json"), ts.sys.readFile).config;
  const { options } = ts.convertCompilerOptionsFromJson(
    { ...base.compilerOptions, composite: false, noEmit: true, noUnusedLocals: false },
    ROOT,
  );
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists.call(host, path);
  host.readFile = (path) => files.get(path) ?? readFile.call(host, path);
  host.getSourceFile = (path, version, ...rest) => {
    const code = files.get(path);
    return code === undefined
      ? getSourceFile.call(host, path, version, ...rest)
      : ts.createSourceFile(path, code, version, true);
  };
  const program = ts.createProgram([...files.keys()], options, host);
  return new Map(
    [...files.keys()].map((path) => {
      const source = program.getSourceFile(path);
      const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
      return [path, found.map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, "\n"))];
    }),
  );
}
