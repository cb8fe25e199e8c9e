/**
 * The demo as a newcomer starts it, whole: a server process, three runtime processes, one bad version.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";

const run = promisify(execFile);
const MAIN = fileURLToPath(new URL("../../server/src/cli/main.ts", import.meta.url));
/** The demo ends itself after 55 s at the latest. */
const DEMO_TIMEOUT_MS = 70_000;

/** The last line on standard output, what was said on standard error, and the data folders that are left. */
async function demo(...args: string[]) {
  const folder = await mkdtemp(join(tmpdir(), "flagback-test-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const words = ["--conditions=flagback:source", "--import", "tsx", MAIN, "demo", "--exit", "--json", ...args];
  const { stdout, stderr } = await run(process.execPath, words, { env: { ...process.env, TMPDIR: folder } });
  const left = (await readdir(folder)).filter((name) => name.startsWith("flagback-demo-"));
  return { result: JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? ""), said: stderr, left };
}

describe("the demo", () => {
  test(
    "rolls the bad version back on every runtime, proves it, and leaves nothing behind",
    async () => {
      const { result, said, left } = await demo("--seed", "3", "--rate", "1200");
      expect(result).toEqual({
        rolledBack: true,
        reason: expect.any(String),
        candidateWeight: 0,
        locked: true,
        writesDisabled: true,
        runtimes: 3,
        acknowledged: 3,
        servedAfterAck: 0,
        decideMs: expect.any(Number),
        commitMs: expect.any(Number),
        convergeMs: expect.any(Number),
        outcomesToDecision: expect.any(Number),
      });
      expect(said).toContain("in the order of seed 3");
      expect(said).toContain("Latency is synthesised");
      expect(said).toContain("writes refused");
      expect(left).toEqual([]);
    },
    DEMO_TIMEOUT_MS,
  );

  test(
    "counts the runtimes that were connected at the commit when one is killed before it",
    async () => {
      const { result, said } = await demo("--kill-one", "--rate", "1200");
      expect(result).toMatchObject({ rolledBack: true, runtimes: 2, acknowledged: 2, servedAfterAck: 0 });
      expect(said).toContain("runtime-3 is killed with SIGKILL");
    },
    DEMO_TIMEOUT_MS,
  );
});
