/**
 * Everything that the demo starts, and the one place that ends it: a server process on a fresh data folder and three
 * runtime processes, each with a token of its own.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Api, connectApi } from "../cli/api-client.ts";
import { ownProgram, type RuntimeProcess as Process, startRuntimeProcess } from "../processes/child.ts";
import { followStanding, type RuntimeStanding } from "../processes/runtime-standing.ts";
import type { FromRuntime, Progress, ProgressMessage, ToRuntime } from "./messages.ts";
import { type ServerProcess, startServerProcess } from "./processes.ts";
import type { Scenario } from "./scenario.ts";

type RuntimeProcess = Process<ToRuntime, FromRuntime>;

const RUNTIMES = 3;
const NOTHING_YET: Progress = { runs: 0, writesDone: 0, writesRefused: 0, resolutions: [] };

/** One runtime process and what it last told about itself. */
export interface StagedRuntime extends RuntimeStanding {
  progress: Progress;
  kill(): void;
}

export interface Stage {
  readonly api: Api;
  readonly url: string;
  readonly adminToken: string;
  readonly runtimes: readonly StagedRuntime[];
  /** Aborted, with the reason, when a process ends that should not. */
  readonly lost: AbortSignal;
  /** Gives each runtime a token and lets it connect. */
  begin(scenario: Scenario): Promise<void>;
  /** Spreads so many runs a second over the runtimes. */
  pace(runsPerSecond: number): void;
  /** Ends the processes and removes the data folder. Safe twice. */
  close(): Promise<void>;
}

export async function openStage(options: { port: number; onLog: (line: string) => void }): Promise<Stage> {
  const lost = new AbortController();
  const processes: RuntimeProcess[] = [];
  const runtimes: StagedRuntime[] = [];
  for (let index = 1; index <= RUNTIMES; index += 1) {
    const child = startRuntimeProcess<ToRuntime, FromRuntime>(`runtime-${index}`, ownProgram("demo-runtime"), {
      type: "end",
    });
    const runtime = stagedRuntime(child, (reason) => lost.abort(new Error(reason)), options.onLog);
    processes.push(child);
    runtimes.push(runtime);
  }
  const dataDir = await mkdtemp(join(tmpdir(), "flagback-demo-"));
  let server: ServerProcess | undefined;
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= (async () => {
      await Promise.all(processes.map((child) => child.close()));
      await server?.close();
      await rm(dataDir, { recursive: true, force: true });
    })();
    return closing;
  };

  try {
    server = await startServerProcess({ dataDir, port: options.port, onLog: options.onLog });
  } catch (error) {
    await close();
    throw error;
  }
  const { url, adminToken } = server;
  const api = connectApi({ url, token: adminToken });
  return {
    api,
    url,
    adminToken,
    runtimes,
    lost: lost.signal,
    async begin({ seed, isCandidateBad }) {
      for (const [index, child] of processes.entries()) {
        const { secret } = await api.createToken({ role: "runtime", name: child.name });
        child.tell({ type: "begin", url, token: secret, runtime: index, seed, isCandidateBad });
      }
    },
    pace(runsPerSecond) {
      for (const child of processes) child.tell({ type: "pace", runsPerSecond: runsPerSecond / RUNTIMES });
    },
    close,
  };
}

function stagedRuntime(
  child: RuntimeProcess,
  onLost: (reason: string) => void,
  onLog: (line: string) => void,
): StagedRuntime {
  const runtime: StagedRuntime = {
    name: child.name,
    instance: undefined,
    state: "starting",
    progress: NOTHING_YET,
    kill() {
      runtime.state = "killed";
      child.kill();
    },
  };
  child.onLost((how) => {
    runtime.state = "lost";
    onLost(`${child.name} ended unexpectedly (${how})`);
  });
  followStanding<ToRuntime, ProgressMessage>(runtime, child, {
    log: onLog,
    besides: ({ progress }) => {
      runtime.progress = progress;
    },
  });
  return runtime;
}
