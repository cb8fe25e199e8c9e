/**
 * The demo's processes: the server and the runtimes, each the command line itself under another command. They end with
 * the demo, however it ends: their IPC channel closes with it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { FlagbackError } from "@flagback/schemas";
import { anySignal, timeoutSignal } from "../cli/signals.ts";
import type { FromRuntime, ToRuntime } from "./messages.ts";

/** How long a child may take to end by itself before it is killed. */
const GRACE_MS = 3_000;
/** How long the server may take to listen. */
const START_TIMEOUT_MS = 20_000;

export interface ServerProcess {
  readonly url: string;
  readonly adminToken: string;
  close(): Promise<void>;
}

export interface RuntimeProcess {
  readonly name: string;
  tell(message: ToRuntime): void;
  onMessage(listener: (message: FromRuntime) => void): void;
  /** Called when it ends without having been asked to. */
  onLost(listener: (how: string) => void): void;
  /** SIGKILL, as when the kernel runs out of memory. */
  kill(): void;
  close(): Promise<void>;
}

/** Starts `flagback serve`. @throws FlagbackError when it ends or stays silent instead of listening */
export async function startServerProcess(options: {
  readonly dataDir: string;
  readonly port: number;
  /** Where its log and its complaints go. */
  readonly onLog: (line: string) => void;
}): Promise<ServerProcess> {
  const args = [
    "serve",
    "--json",
    "--data-dir",
    options.dataDir,
    "--port",
    String(options.port),
    "--log-level",
    "warn",
  ];
  const child = spawnSelf(args, ["ignore", "pipe", "pipe", "ipc"]);
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

/** Starts one runtime; it waits for its `begin`. */
export function startRuntimeProcess(name: string): RuntimeProcess {
  const child = spawnSelf(["demo-runtime"], ["ignore", "ignore", "inherit", "ipc"]);
  let isWanted = true;
  return {
    name,
    tell: (message) => {
      if (child.connected) child.send(message, () => {});
    },
    onMessage: (listener) => {
      // Our own code at the other end, of this very version: no other shape can come.
      child.on("message", (message) => listener(message as FromRuntime));
    },
    onLost: (listener) => {
      child.once("exit", (code, signal) => {
        if (isWanted) listener(signal ?? `exit ${code}`);
      });
    },
    kill: () => {
      isWanted = false;
      child.kill("SIGKILL");
    },
    close: () => {
      isWanted = false;
      return endOf(child, () => {
        if (child.connected) child.send({ type: "end" } satisfies ToRuntime, () => {});
        else child.kill("SIGTERM");
      });
    },
  };
}

/** The same program with the same flags. A group of its own, so that Ctrl-C reaches the demo alone, which ends them in order. */
function spawnSelf(args: readonly string[], stdio: ("ignore" | "pipe" | "inherit" | "ipc")[]): ChildProcess {
  const program = process.argv[1];
  if (program === undefined) throw new Error("the demo can't find the program that it is part of");
  return spawn(process.execPath, [...process.execArgv, program, ...args], {
    stdio,
    detached: process.platform !== "win32",
  });
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

/** Asks the child to end, and insists after a grace. */
async function endOf(child: ChildProcess, ask: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  ask();
  const insist = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
  await exited;
  clearTimeout(insist);
}
