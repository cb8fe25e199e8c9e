/**
 * Processes of our own: the command line itself under another command, or another program that speaks like it. They end with
 * us, however we end: their IPC channel closes with us.
 */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { once } from "node:events";

/** How long a child may take to end by itself before it is killed. */
const GRACE_MS = 3_000;

/** What to run: arguments of Node itself. */
export type Program = readonly string[];

export interface RuntimeProcess<To, From> {
  readonly name: string;
  tell(message: To): void;
  onMessage(listener: (message: From) => void): void;
  /** Called when it ends without having been asked to. */
  onLost(listener: (how: string) => void): void;
  /** SIGKILL, as when the kernel runs out of memory. */
  kill(): void;
  close(): Promise<void>;
}

/** The same program with the same flags, under another command. */
export function ownProgram(...args: readonly string[]): Program {
  const program = process.argv[1];
  if (program === undefined) throw new Error("the program that this is part of can't be found");
  return [...process.execArgv, program, ...args];
}

/** Starts a process that is talked to by messages; `end` is the one that asks it to end. */
export function startRuntimeProcess<To, From>(name: string, program: Program, end: To): RuntimeProcess<To, From> {
  const child = spawnNode(program, ["ignore", "ignore", "inherit", "ipc"]);
  let isWanted = true;
  return {
    name,
    tell: (message) => {
      if (child.connected) child.send(message as object, () => {});
    },
    onMessage: (listener) => {
      // Our own code at the other end, of this very version: no other shape can come.
      child.on("message", (message) => listener(message as From));
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
        if (child.connected) child.send(end as object, () => {});
        else child.kill("SIGTERM");
      });
    },
  };
}

/** A group of its own, so that Ctrl-C reaches us alone, and we end them in order. */
export function spawnNode(program: Program, stdio: StdioOptions): ChildProcess {
  return spawn(process.execPath, [...program], { stdio, detached: process.platform !== "win32" });
}

/** Asks the child to end, and insists after a grace. */
export async function endOf(child: ChildProcess, ask: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  ask();
  const insist = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
  await exited;
  clearTimeout(insist);
}
