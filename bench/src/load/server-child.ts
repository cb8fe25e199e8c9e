/** The real server in a process of its own. */
import { type RunningServer, type ServerOptions, startServer } from "flagback";
import { type Logger, pino } from "pino";
import { sharedNowMs } from "./clock.ts";
import { serve } from "./peer.ts";
import { askForUsage, cpuUsSince, lookAtUsage } from "./usage.ts";

export interface Commit {
  /** Null where runtimes see nothing of it. */
  readonly revision: number | null;
  /** On the shared clock. */
  readonly atMs: number;
}

let server: RunningServer | undefined;
/** When each change was committed. The server logs a change in the step that advances the head. */
let commits: Commit[] = [];
/** CPU from there to the end of the turn in which every session was written to, in microseconds. */
let broadcasts: number[] = [];

const skills = {
  async start(options: Pick<ServerOptions, "dataDir" | "leaseMs" | "heartbeatMs" | "port">) {
    server = await startServer({ port: 0, ...options, log: commitLog() });
    // Before the first socket, so that no delay of the event loop is missed.
    lookAtUsage();
    return { url: server.url, port: Number(new URL(server.url).port), adminToken: server.adminToken ?? "" };
  },
  async stop(): Promise<void> {
    await server?.close();
  },
  /** The commits since the last call. */
  takeCommits(): Commit[] {
    const taken = commits;
    commits = [];
    return taken;
  },
  /** CPU of the broadcasts since the last call, in microseconds. */
  takeBroadcasts(): number[] {
    const taken = broadcasts;
    broadcasts = [];
    return taken;
  },
  usage: askForUsage,
};
export type ServerSkills = typeof skills;

function commitLog(): Logger {
  const log = pino({ level: "warn" }, pino.destination(2));
  // A change's line is the only one that names an action.
  log.info = (what: unknown) => {
    if (typeof what !== "object" || what === null || !("action" in what)) return;
    commits.push({ revision: "revision" in what ? Number(what.revision) : null, atMs: sharedNowMs() });
    const before = process.cpuUsage();
    // The doorbell is set to ring in the step that logs the change, so this comes after it.
    queueMicrotask(() => setImmediate(() => broadcasts.push(cpuUsSince(before))));
  };
  return log;
}

serve(skills);
