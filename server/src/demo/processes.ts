/**
 * The demo's server, a process of its own.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { FlagbackError } from "@flagback/schemas";
import { anySignal, timeoutSignal } from "../cli/signals.ts";
import { endOf, ownProgram, spawnNode } from "../processes/child.ts";

/** How long the server may take to listen. */
const START_TIMEOUT_MS = 20_000;

export interface ServerProcess {
  readonly url: string;
  readonly adminToken: string;
  close(): Promise<void>;
}

/** Starts `flagback serve`. @throws FlagbackError when it ends or stays silent instead of listening */
export async function startServerProcess(options: {
  readonly dataDir: string;
  readonly port: number;
  /** Where its log and its complaints go. */
  readonly onLog: (line: string) => void;
}): Promise<ServerProcess> {
  const { dataDir, port } = options;
  const program = ownProgram("serve", "--json", "--data-dir", dataDir, "--port", String(port), "--log-level", "warn");
  const child = spawnNode(program, ["ignore", "pipe", "pipe", "ipc"]);
  const complaints: string[] = [];
  if (child.stderr) {
    createInterface({ input: child.stderr }).on("line", (line) => {
      complaints.push(line);
      options.onLog(`server: ${line}`);
    });
  }
  try {
    const { url, adminToken } = await announcement(child);
    return { url, adminToken, close: () => endOf(child, () => child.kill("SIGTERM")) };
  } catch (cause) {
    await endOf(child, () => child.kill("SIGKILL"));
    throw new FlagbackError(
      {
        code: "unreachable",
        message: `The server did not start: ${complaints.at(-2) ?? complaints.at(-1) ?? (cause as Error).message}`,
        hint: complaints.length > 1 ? (complaints.at(-1) ?? "") : "flagback serve shows what is wrong.",
      },
      { cause },
    );
  }
}

/** The one line of JSON that `serve --json` prints. */
async function announcement(child: ChildProcess): Promise<{ url: string; adminToken: string }> {
  if (child.stdout === null) throw new Error("the server has no standard output");
  const lines = createInterface({ input: child.stdout });
  const timeout = timeoutSignal(START_TIMEOUT_MS);
  const ended = new AbortController();
  child.once("exit", (code) => ended.abort(new Error(`it ended with status ${code}`)));
  const [line] = await once(lines, "line", { signal: anySignal([timeout, ended.signal]) });
  return JSON.parse(line);
}
