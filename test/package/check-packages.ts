/**
 * `npm run check:packages`, after the build: packs what would be published and lets publint and attw judge the tarballs.
 * Exits with 1 where either finds a problem.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { type Packed, PUBLISHED, type PublishedName, pack, ROOT } from "./pack.ts";

const ATTW = join(ROOT, "node_modules/@arethetypeswrong/cli/dist/index.js");

/** Beside what every package holds. */
const NEEDED: Partial<Record<PublishedName, readonly string[]>> = {
  "@flagback/core": ["dist/evaluation/index.js"],
  "@flagback/provider": [
    "dist/testing/index.js",
    "dist/THIRD_PARTY_NOTICES.txt",
    ...["ai-sdk", "langchain", "openai-agents"].flatMap((name) => [
      `dist/adapters/${name}.js`,
      `dist/adapters/${name}.d.ts`,
    ]),
  ],
  "@flagback/schemas": ["json/config-file.schema.json"],
  flagback: ["dist/cli/main.js", "dist/testing/index.js", "dist/demo/runtime.js", "assets/agent-runs.csv"],
};

const folder = mkdtempSync(join(tmpdir(), "flagback-packages-"));
try {
  const packed = pack(Object.keys(PUBLISHED) as PublishedName[], folder);
  for (const item of packed) {
    const problems = [...contents(item), ...(await publintProblems(item)), ...attwProblems(item)];
    console.log(`${problems.length === 0 ? "ok" : "failed"}: ${item.name}, ${item.files.length} files`);
    for (const problem of problems) console.log(`  ${problem}`);
    if (problems.length > 0) process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** What the tools do not look at: the licence travels along, and nothing of the workshop does. */
function contents({ name, files }: Packed): string[] {
  const needed = ["LICENSE", "README.md", "dist/index.js", "dist/index.d.ts", ...(NEEDED[name] ?? [])];
  const missing = needed.filter((path) => !files.includes(path));
  const strange = files.filter((path) => /\.tsbuildinfo$|\.test\.|^test\/|(^|\/)\.env/.test(path));
  return [...missing.map((path) => `lacks ${path}`), ...strange.map((path) => `should not hold ${path}`)];
}

async function publintProblems({ tarball }: Packed): Promise<string[]> {
  const bytes = readFileSync(tarball);
  const archive = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const { messages, pkg } = await publint({ pack: { tarball: archive } });
  return messages
    .filter((message) => message.type !== "suggestion")
    .map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`);
}

/** Node 20 and later load ES modules only from here, so CommonJS consumers are not asked about. */
function attwProblems({ tarball }: Packed): string[] {
  const options = ["--profile", "esm-only", "--no-definitely-typed", "--no-color", "--no-emoji", "--format", "ascii"];
  const { status, stdout, stderr } = spawnSync(process.execPath, [ATTW, tarball, ...options], { encoding: "utf8" });
  return status === 0 ? [] : [`attw: ${stdout}${stderr}`];
}
