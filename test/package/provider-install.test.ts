import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { declarationFile } from "../../server/src/typegen/declaration-file.ts";
import { typedKeys } from "../../server/src/typegen/typed-keys.ts";
import { compile } from "../support/compile.ts";
import { type PublishedName, pack } from "./pack.ts";

/** The provider and what of ours it needs. */
const TARBALLS: readonly PublishedName[] = ["@flagback/schemas", "@flagback/core", "@flagback/provider"];
const PEERS = ["@openfeature/core", "@openfeature/server-sdk"];

/** Ours, the peers and what they need; each one more is something a reviewer of the agent must trust. */
const MAX_PACKAGES = 8;

interface Installed {
  readonly name: string;
  readonly folder: string;
  readonly scripts: Readonly<Record<string, string>>;
}

let folder = "";
let installed: readonly Installed[] = [];

beforeAll(() => {
  // npm compares real paths, and a temporary folder may be a link.
  folder = realpathSync(mkdtempSync(join(tmpdir(), "flagback-install-")));
  const packed = pack(TARBALLS, folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "stranger", private: true, type: "module" }));
  const tarballs = packed.map(({ tarball }) => tarball);
  // Scripts stay off so that a package with one is seen by the test below, not run by it.
  const options = ["--prefix", folder, "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"];
  execFileSync("npm", ["install", ...options, ...tarballs, ...PEERS.map(peerRange)], { cwd: folder, stdio: "pipe" });
  installed = packagesIn(join(folder, "node_modules"));
}, 180_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the provider, installed from its tarball in an empty folder", () => {
  test("brings no install script and no native build", () => {
    const scripted = installed.filter(
      (item) =>
        ["preinstall", "install", "postinstall"].some((script) => script in item.scripts) ||
        existsSync(join(item.folder, "binding.gyp")),
    );
    expect(scripted.map((item) => item.name)).toEqual([]);
  });

  test("brings nothing of the server", () => {
    const names = installed.map((item) => item.name);
    expect(names).toEqual(expect.arrayContaining([...TARBALLS, ...PEERS]));
    for (const name of ["flagback", "fastify", "better-sqlite3", "pg", "prom-client", "pino"]) {
      expect(names).not.toContain(name);
    }
  });

  test("stays small", () => {
    const names = installed.map((item) => item.name).sort();
    expect(names.length, `${names.length} packages: ${names.join(", ")}`).toBeLessThanOrEqual(MAX_PACKAGES);
  });

  test("has its keys typed by the file that flagback typegen writes", () => {
    const keys = typedKeys({ aliases: ["support-agent"], killSwitches: [], flags: [] });
    const agent = join(folder, "agent.ts");
    const files = new Map([
      [join(folder, "flagback.d.ts"), declarationFile(keys, { openFeature: true })],
      [
        agent,
        `import type { Run } from "@flagback/provider";
         import type { Client } from "@openfeature/server-sdk";
         export const right = (run: Run, client: Client) => [run.pin("support-agent", ""), client.getStringValue("support-agent", "")];
         export const wrong = (run: Run) => run.pin("supportagent", "");
         export const wrongToo = (client: Client) => client.getStringValue("supportagent", "");`,
      ],
    ]);
    const problems = compile(files, { customConditions: [] }).get(agent);
    expect(problems?.map(({ line }) => line)).toEqual([4, 5]);
    expect(problems?.map(({ text }) => text)).toEqual(Array(2).fill(expect.stringContaining('"supportagent"')));
  });

  test("runs in plain node, without our source condition", () => {
    const script = [
      'import { FlagbackProvider } from "@flagback/provider";',
      'import { TestProvider } from "@flagback/provider/testing";',
      'const provider = new FlagbackProvider({ url: "http://127.0.0.1:9", token: "fb_runtime_none_none" });',
      'const version = new TestProvider({ aliases: { agent: "agent@1" } }).version("agent");',
      "console.log(JSON.stringify({ ...provider.metadata, version }));",
      "await provider.onClose?.();",
    ].join("\n");
    expect(runInNode(script)).toEqual({ name: expect.any(String), version: "agent@1" });
  });

  test("evaluates a flag with targeting, by what it carries and names the licences of", () => {
    const script = [
      'import { TestProvider } from "@flagback/provider/testing";',
      'const targeting = { if: [{ "==": [{ var: "tier" }, "gold"] }, "on", "off"] };',
      'const flag = { state: "ENABLED", variants: { on: true, off: false }, defaultVariant: "off", targeting };',
      "const provider = new TestProvider({ definitions: { fast: flag } });",
      'const ask = (tier) => provider.resolveBooleanEvaluation("fast", false, { tier });',
      'const [gold, other] = [await ask("gold"), await ask("tin")];',
      "console.log(JSON.stringify([gold.value, gold.reason, other.value]));",
    ].join("\n");
    expect(runInNode(script)).toEqual([true, "TARGETING_MATCH", false]);
    const notices = readFileSync(join(folder, "node_modules/@flagback/provider/dist/THIRD_PARTY_NOTICES.txt"), "utf8");
    for (const name of ["@openfeature/flagd-core", "json-logic-engine", "semver"]) {
      expect(notices).toMatch(new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(`, "m"));
    }
  });

  test("has adapters that need no other framework than theirs, and know the runs of its root", () => {
    const script = [
      'import { withRun } from "@flagback/provider";',
      'import { guardTools } from "@flagback/provider/ai-sdk";',
      'import { guardMcpServer } from "@flagback/provider/openai-agents";',
      'import { TestProvider } from "@flagback/provider/testing";',
      'const provider = new TestProvider({ aliases: { agent: "agent@1" } });',
      'const tools = guardTools({ refund: { execute: async () => "refunded" } }, { writes: ["refund"] });',
      'const inside = await withRun({ provider, agent: "agent" }, () => tools.refund.execute());',
      "const outside = await tools.refund.execute();",
      'const langchain = await import("@flagback/provider/langchain").catch((error) => error.message);',
      "console.log(JSON.stringify({ inside, outside, langchain, mcp: typeof guardMcpServer }));",
    ].join("\n");
    expect(runInNode(script)).toEqual({
      inside: "refunded",
      outside: expect.stringContaining("not performed"),
      langchain: expect.stringContaining("Cannot find package '@langchain/core'"),
      mcp: "function",
    });
  });
});

/** What a script prints that runs beside the installed package. */
function runInNode(script: string): unknown {
  const { NODE_OPTIONS: _ours, ...env } = process.env;
  const run = spawnSync(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: folder,
    encoding: "utf8",
    env,
  });
  expect(run.stderr).toBe("");
  return JSON.parse(run.stdout);
}

/** What the provider's own manifest asks of its host. */
function peerRange(name: string): string {
  const manifest = JSON.parse(readFileSync(new URL("../../provider/package.json", import.meta.url), "utf8"));
  return `${name}@${manifest.peerDependencies[name]}`;
}

function packagesIn(modules: string): Installed[] {
  if (!existsSync(modules)) return [];
  const folders = readdirSync(modules)
    .filter((name) => !name.startsWith("."))
    .flatMap((name) =>
      name.startsWith("@") ? readdirSync(join(modules, name)).map((part) => `${name}/${part}`) : name,
    );
  return folders.flatMap((name) => {
    const { scripts = {} } = JSON.parse(readFileSync(join(modules, name, "package.json"), "utf8"));
    return [{ name, folder: join(modules, name), scripts }, ...packagesIn(join(modules, name, "node_modules"))];
  });
}
