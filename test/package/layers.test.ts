import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

// A check that can't fail is a defect: here a small copy of the house breaks every rule, and each tool must say so.

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const DEPCRUISE = join(ROOT, "node_modules/dependency-cruiser/bin/dependency-cruise.mjs");
const BIOME = join(ROOT, "node_modules/@biomejs/biome/bin/biome");

/** The house with nothing in it but its packages, each able to import the others by name. */
const SOUND: Readonly<Record<string, string>> = {
  "tsconfig.base.json": JSON.stringify({
    compilerOptions: { module: "nodenext", moduleResolution: "nodenext", customConditions: ["flagback:source"] },
  }),
  "package.json": JSON.stringify({ name: "planted", private: true, type: "module" }),
  ...workspace("schemas", "@flagback/schemas", "src/index.ts", ["zod"]),
  ...workspace("src", "@flagback/core", "index.ts", ["@flagback/schemas"]),
  ...workspace("provider", "@flagback/provider", "src/index.ts", [
    "@flagback/core",
    "@flagback/schemas",
    "@langchain/core",
  ]),
  ...workspace("server", "flagback", "src/index.ts", [
    "@flagback/core",
    "@flagback/provider",
    "@flagback/schemas",
    "better-sqlite3",
  ]),
  "schemas/src/index.ts": 'import { z } from "zod";\nexport type Id = string;\nexport const any = z;\n',
  "src/index.ts":
    'import { createHash } from "node:crypto";\nimport type { Id } from "@flagback/schemas";\nexport const idOf = (): Id => createHash("sha256").digest("hex");\n',
  "provider/src/index.ts": 'export { idOf } from "@flagback/core";\n',
  "provider/src/adapters/framework.ts":
    'import { Message } from "@langchain/core";\nexport const guard = () => new Message();\n',
  "server/src/index.ts":
    'import { idOf } from "@flagback/core";\nimport { open } from "./store/sqlite.ts";\nexport { idOf, open };\n',
  "server/src/store/sqlite.ts":
    'import { Database } from "better-sqlite3";\nexport const open = () => new Database();\n',
  "server/src/cli/main.ts": 'import { idOf } from "@flagback/provider";\nexport const main = idOf;\n',
  "server/src/demo/runtime.ts": 'import { idOf } from "@flagback/provider";\nexport const runtime = idOf;\n',
  "test/helper.ts": "export const helper = 1;\n",
  "bench/src/main.ts": "export const bench = 1;\n",
};

/** Each file breaks exactly the rules that it is listed with. */
const PLANTED: readonly { readonly file: string; readonly text: string; readonly rules: readonly string[] }[] = [
  {
    file: "schemas/src/knows-core.ts",
    text: 'import { idOf } from "@flagback/core";\nexport const a = idOf;\n',
    rules: ["schemas-import-nobody"],
  },
  {
    file: "src/brain/knows-server.ts",
    text: 'import { open } from "../../server/src/store/sqlite.ts";\nexport const a = open;\n',
    rules: ["core-imports-schemas-only", "no-reaching-in"],
  },
  {
    file: "src/brain/knows-provider.ts",
    text: 'import type { idOf } from "../../provider/src/index.ts";\nexport type A = typeof idOf;\n',
    rules: ["core-imports-schemas-only", "no-reaching-in"],
  },
  {
    file: "src/brain/reads-files.ts",
    text: 'import { readFileSync } from "node:fs";\nexport const a = readFileSync;\n',
    rules: ["core-is-pure"],
  },
  {
    file: "provider/src/knows-server.ts",
    text: 'import { idOf } from "../../server/src/index.ts";\nexport const a = idOf;\n',
    rules: ["no-reaching-in", "provider-without-server"],
  },
  {
    file: "provider/src/speaks-sql.ts",
    text: 'import { Database } from "better-sqlite3";\nexport const a = Database;\n',
    rules: ["no-undeclared-package", "sql-in-the-store-only"],
  },
  {
    file: "provider/src/opens-a-door.ts",
    text: 'export { guard } from "./adapters/framework.ts";\n',
    rules: ["adapters-are-doors"],
  },
  {
    file: "provider/src/knows-a-framework.ts",
    text: 'import { Message } from "@langchain/core";\nexport const a = Message;\n',
    rules: ["frameworks-in-adapters-only"],
  },
  {
    file: "src/brain/borrows-types.ts",
    text: 'import type { z } from "zod";\nexport type A = typeof z;\n',
    rules: ["no-undeclared-package"],
  },
  {
    file: "server/src/hub/needs-workshop.ts",
    text: 'import { tool } from "workshop-tool";\nexport const a = tool;\n',
    rules: ["no-development-package"],
  },
  {
    file: "server/src/hub/knows-provider.ts",
    text: 'import { idOf } from "@flagback/provider";\nexport const a = idOf;\n',
    rules: ["server-without-provider"],
  },
  {
    file: "server/src/hub/speaks-sql.ts",
    text: 'import { Database } from "better-sqlite3";\nexport const a = Database;\n',
    rules: ["sql-in-the-store-only"],
  },
  {
    file: "server/src/hub/imports-tests.ts",
    text: 'import { helper } from "../../../test/helper.ts";\nimport { bench } from "../../../bench/src/main.ts";\nexport const a = [helper, bench];\n',
    rules: ["nothing-imports-tests"],
  },
  {
    file: "server/src/hub/finds-nothing.ts",
    text: 'import { x } from "./not-there.ts";\nexport const a = x;\n',
    rules: ["no-unresolvable"],
  },
  {
    file: "server/src/hub/circle-one.ts",
    text: 'import { b } from "./circle-two.ts";\nexport const a = (): number => b();\n',
    rules: ["no-circular"],
  },
  {
    file: "server/src/hub/circle-two.ts",
    text: 'import { a } from "./circle-one.ts";\nexport const b = (): number => a();\n',
    rules: [], // A circle is reported once.
  },
];

let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "flagback-layers-"));
  for (const [path, text] of Object.entries(SOUND)) write(path, text);
  cpSync(join(ROOT, ".dependency-cruiser.cjs"), join(folder, ".dependency-cruiser.cjs"));
  write("node_modules/better-sqlite3/package.json", '{"name":"better-sqlite3","version":"0.0.0","main":"index.js"}');
  write("node_modules/better-sqlite3/index.js", "exports.Database = class {};\n");
  write("node_modules/workshop-tool/package.json", '{"name":"workshop-tool","version":"0.0.0","main":"index.js"}');
  write("node_modules/workshop-tool/index.js", "exports.tool = {};\n");
  write("node_modules/@langchain/core/package.json", '{"name":"@langchain/core","version":"0.0.0","main":"index.js"}');
  write("node_modules/@langchain/core/index.js", "exports.Message = class {};\n");
  write("node_modules/zod/package.json", '{"name":"zod","version":"0.0.0","main":"index.js"}');
  write("node_modules/zod/index.js", "exports.z = {};\n");
  mkdirSync(join(folder, "node_modules/@flagback"), { recursive: true });
  for (const [name, path] of [
    ["schemas", "schemas"],
    ["core", "src"],
    ["provider", "provider"],
  ] as const) {
    symlinkSync(join(folder, path), join(folder, "node_modules/@flagback", name), "dir");
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the import rules", () => {
  test("a house that keeps them passes", () => {
    expect(violations()).toEqual([]);
  });

  test("each violation is reported, and nothing else is", () => {
    for (const { file, text } of PLANTED) write(file, text);

    expect(violations()).toEqual(PLANTED.flatMap(({ file, rules }) => rules.map((rule) => `${file}: ${rule}`)).sort());
  });

  test("every rule has a planted violation", () => {
    const config = execFileSync(process.execPath, [
      "-p",
      `JSON.stringify(require(${JSON.stringify(join(ROOT, ".dependency-cruiser.cjs"))}).forbidden.map((rule) => rule.name))`,
    ]);
    expect([...new Set(PLANTED.flatMap((planted) => planted.rules))].sort()).toEqual(JSON.parse(String(config)).sort());
  });

  test("the command of npm run check:layers fails on them", () => {
    expect(cruise("err").status).not.toBe(0);
  });
});

test("core that asks the clock, throws dice or starts a timer is reported by the linter, and only in core", () => {
  const impure = [
    'import { randomUUID } from "node:crypto";\n',
    "export const now = () => Date.now();",
    "export const today = () => new Date();",
    "export const dice = () => Math.random();",
    "export const id = () => randomUUID();",
    "export const later = (work: () => void) => setTimeout(work, 5);",
    "export const environment = () => process.env;",
    "export const allowed = (nowMs: number) => new Date(nowMs);\n",
  ].join("\n");
  for (const name of ["biome.json", "biome-core-purity.grit"]) cpSync(join(ROOT, name), join(folder, name));
  write("src/brain/impure.ts", impure);
  write("server/src/hub/impure.ts", impure);
  const lint = (path: string) =>
    spawnSync(process.execPath, [BIOME, "lint", "--vcs-enabled=false", "--reporter=github", path], {
      cwd: folder,
      encoding: "utf8",
    });

  const core = lint("src/brain/impure.ts");
  expect(core.status).not.toBe(0);
  const lines = [...core.stdout.matchAll(/line=(\d+)/g)].map((match) => Number(match[1]));
  expect([...new Set(lines)].sort()).toEqual([3, 4, 5, 6, 7, 8]);
  expect(lint("server/src/hub/impure.ts").status).toBe(0);
});

function workspace(path: string, name: string, entry: string, dependencies: readonly string[]) {
  const manifest = {
    name,
    version: "0.0.0",
    type: "module",
    exports: { ".": { "flagback:source": `./${entry}`, default: "./dist/index.js" } },
    dependencies: Object.fromEntries(dependencies.map((dependency) => [dependency, "*"])),
    devDependencies: { "workshop-tool": "*" },
  };
  return { [`${path}/package.json`]: JSON.stringify(manifest) };
}

function write(path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}

function cruise(format: "json" | "err") {
  const parts = ["schemas/src", "src", "provider/src", "server/src"];
  const options = ["--config", ".dependency-cruiser.cjs", "--output-type", format];
  return spawnSync(process.execPath, [DEPCRUISE, ...parts, ...options], { cwd: folder, encoding: "utf8" });
}

function violations(): string[] {
  const { stdout, stderr } = cruise("json");
  if (stdout === "") throw new Error(stderr);
  const found: { readonly from: string; readonly rule: { readonly name: string } }[] =
    JSON.parse(stdout).summary.violations;
  return [...new Set(found.map(({ from, rule }) => `${from}: ${rule.name}`))].sort();
}
