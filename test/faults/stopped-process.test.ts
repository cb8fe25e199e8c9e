/**
 * A runtime that does not run while the kill switch is engaged: stopped by a signal, or busy in its own event loop. What it
 * reads first afterwards, or meanwhile, is decided by its lease alone, because no message can reach it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { eventually, type TestServer, testServer } from "../support/server.ts";
import { machineMs } from "./lease-bound/machine-clock.ts";
import type { ReaderCommand, ReaderReport, Stretch } from "./lease-bound/reader-process.ts";

const LEASE_MS = 600;
/** Outlives a commit that comes late because the machine stood still for a second. */
const LONG_LEASE_MS = 2_500;
/** Longer than all that happens while the runtime is blocked: a lease, and what comes before it and after it. */
const blockMs = (leaseMs: number) => leaseMs + 3_500;
const READER = fileURLToPath(new URL("lease-bound/reader-process.ts", import.meta.url));

/** Reads that started after the bound and were allowed, as stretches. */
const late = (stretches: readonly Stretch[], committedMs: number, leaseMs = LEASE_MS) =>
  stretches.filter(({ allowed, lastStartedMs }) => allowed && lastStartedMs > committedMs + leaseMs);

/** The answers as they changed. Where the machine itself stood still for a moment a stretch ends, and the answer need not. */
const changes = (stretches: readonly Stretch[]) =>
  stretches
    .map(({ allowed, revision }) => ({ allowed, revision }))
    .filter((each, i, all) => each.allowed !== all[i - 1]?.allowed || each.revision !== all[i - 1]?.revision);

test("the first read after a stop longer than the lease sees the switch engaged, before any message came", async () => {
  const { stretches, committedMs, revision } = await stoppedWhileEngaged("writes_disabled");
  expect(changes(stretches)).toEqual([
    { allowed: true, revision: revision - 1 },
    { allowed: false, revision: revision - 1 },
    { allowed: false, revision },
  ]);
  expect(late(stretches, committedMs)).toEqual([]);
  // It was the stop that outlasted the lease: until then it was allowed, and afterwards no read was.
  const denied = stretches.findIndex(({ allowed }) => !allowed);
  expect(stretches[denied]!.firstStartedMs - stretches[denied - 1]!.lastStartedMs).toBeGreaterThan(LEASE_MS);
});

test("a switch without a fail-safe reads as it was before the stop, so the lease is what protects the other", async () => {
  const { stretches, committedMs, revision } = await stoppedWhileEngaged("last_known");
  expect(changes(stretches)).toEqual([
    { allowed: true, revision: revision - 1 },
    { allowed: false, revision },
  ]);
  expect(late(stretches, committedMs).length).toBeGreaterThan(0);
});

test("a blocked event loop reads the switch as engaged from the bound on, within the same turn", async () => {
  const { server, commits } = await serverWithSwitches(LONG_LEASE_MS);
  const reader = await Reader.start(server, "writes_disabled");
  await reader.ask({ kind: "block", forMs: blockMs(LONG_LEASE_MS) }, "blocked");
  const revision = await engage(server, "writes_disabled");
  await runtimeHas(server, revision);
  const { stretches } = await reader.ask({ kind: "finish" }, "read");
  const committedMs = commits[0] as number;
  expect(changes(stretches)).toEqual([
    { allowed: true, revision: revision - 1 },
    { allowed: false, revision: revision - 1 },
    { allowed: false, revision },
  ]);
  expect(late(stretches, committedMs, LONG_LEASE_MS)).toEqual([]);
  // The lease outlived the commit, and the block outlived the bound.
  const lastMs = (isAllowed: boolean) =>
    stretches.findLast(({ allowed, revision: held }) => allowed === isAllowed && held === revision - 1)?.lastStartedMs;
  expect(lastMs(true)).toBeGreaterThan(committedMs);
  expect(lastMs(false)).toBeGreaterThan(committedMs + LONG_LEASE_MS);
});

/** Stops a reading runtime, engages the switch, lets the bound pass, and lets the runtime go on until it has the change. */
async function stoppedWhileEngaged(writeSwitch: string) {
  const { server, commits } = await serverWithSwitches();
  const reader = await Reader.start(server, writeSwitch);
  await reader.ask({ kind: "block", forMs: blockMs(LEASE_MS) }, "blocked");
  reader.signal("SIGSTOP");
  const revision = await engage(server, writeSwitch);
  const committedMs = commits[0] as number;
  await eventually("the bound has passed", () => machineMs() > committedMs + LEASE_MS);
  reader.signal("SIGCONT");
  await runtimeHas(server, revision);
  const { stretches } = await reader.ask({ kind: "finish" }, "read");
  return { stretches, committedMs, revision };
}

async function runtimeHas(server: TestServer, revision: number): Promise<void> {
  await eventually("the runtime has the change", async () => {
    const { body } = await server.call<{ runtimes: { appliedRevision: number }[] }>("GET", "/v1/runtimes");
    return body.runtimes.some(({ appliedRevision }) => appliedRevision === revision);
  });
}

async function serverWithSwitches(leaseMs = LEASE_MS) {
  const commits: number[] = [];
  const write = (line: string) => {
    if (JSON.parse(line).action === "kill_switch.engage") commits.push(machineMs());
  };
  const server = await testServer({ leaseMs, log: pino({ level: "info" }, { write }) });
  const made = await server.call("PUT", "/v1/kill-switches/last_known", { failSafe: { engage: false } });
  expect(made.status).toBe(200);
  return { server, commits };
}

async function engage(server: TestServer, key: string): Promise<number> {
  const { status, body } = await server.call<{ revision: number }>("POST", `/v1/kill-switches/${key}/engage`, {
    reason: "a test",
  });
  expect(status).toBe(200);
  return body.revision;
}

class Reader {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(server: TestServer, writeSwitch: string): Promise<Reader> {
    const child = spawn(process.execPath, ["--conditions=flagback:source", "--import", "tsx", READER], {
      env: {
        ...process.env,
        READER_URL: server.url,
        READER_TOKEN: await server.token("runtime"),
        READER_SWITCH: writeSwitch,
      },
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    onTestFinished(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    });
    const reader = new Reader(child);
    await reader.#hears("ready");
    return reader;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async ask<Kind extends ReaderReport["kind"]>(
    command: ReaderCommand,
    answer: Kind,
  ): Promise<Extract<ReaderReport, { kind: Kind }>> {
    this.#child.send(command);
    return this.#hears(answer);
  }

  #hears<Kind extends ReaderReport["kind"]>(kind: Kind): Promise<Extract<ReaderReport, { kind: Kind }>> {
    return new Promise((resolve, reject) => {
      const exited = (code: number | null) => reject(new Error(`the reader ended with ${code} before "${kind}"`));
      const listener = (report: ReaderReport) => {
        if (report.kind !== kind) return;
        this.#child.off("message", listener).off("exit", exited);
        resolve(report as Extract<ReaderReport, { kind: Kind }>);
      };
      this.#child.on("message", listener).on("exit", exited);
    });
  }
}
