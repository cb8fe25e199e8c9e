/**
 * The real `flagback serve` in a process of its own, for tests that kill it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

const CLI = fileURLToPath(new URL("../../server/src/cli/main.ts", import.meta.url));

export interface ServerProcess {
  readonly url: string;
  readonly adminToken?: string;
  /** Ends it as `kill -9` does; resolves when it is gone. */
  kill(): Promise<void>;
  /** Resolves with the signal that ended it, when something does; null where it ended by itself. */
  readonly ended: Promise<NodeJS.Signals | null>;
}

export async function serverProcess(
  dataDir: string,
  env: Readonly<Record<string, string>> = {},
): Promise<ServerProcess> {
  const child = spawn(
    process.execPath,
    [
      "--conditions=flagback:source",
      "--import",
      "tsx",
      CLI,
      "serve",
      "--json",
      "--port",
      "0",
      "--data-dir",
      dataDir,
      "--log-level",
      "error",
    ],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } },
  );
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once("exit", (_code, signal) => resolve(signal)));
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  onTestFinished(kill);
  const { url, adminToken } = await announcement(child);
  return { url, adminToken, kill, ended };
}

async function announcement(child: ChildProcess): Promise<{ readonly url: string; readonly adminToken?: string }> {
  if (!child.stdout) throw new Error("the server has no standard output");
  for await (const line of createInterface({ input: child.stdout })) return JSON.parse(line);
  throw new Error(`the server ended with ${child.exitCode} before it announced its address`);
}
