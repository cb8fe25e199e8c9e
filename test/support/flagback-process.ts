/**
 * The command line as people run it: a process of its own, ended by itself.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const CLI = fileURLToPath(new URL("../../server/src/cli/main.ts", import.meta.url));

export interface Ran {
  /** Exit status. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `flagback` with these words against a server. */
export async function flagback(
  args: readonly string[],
  server: { readonly url: string; readonly token: string },
  { stdin = "" }: { readonly stdin?: string } = {},
): Promise<Ran> {
  const child = spawn(process.execPath, ["--conditions=flagback:source", "--import", "tsx", CLI, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, FLAGBACK_URL: server.url, FLAGBACK_TOKEN: server.token },
  });
  child.stdin.end(stdin);
  const ended = once(child, "exit");
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [status] = await ended;
  return { status, stdout, stderr };
}
