/**
 * The runtimes of a chaos run, in processes of their own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { SeededRandom } from "../../support/seeded-random.ts";
import type { FleetCommand, FleetReport } from "./fleet-main.ts";
import type { ChaosEvent } from "./history.ts";
import type { RuntimeFault } from "./schedule.ts";

const FLEET = fileURLToPath(new URL("fleet-main.ts", import.meta.url));
const RUNTIMES_PER_PROCESS = 100;

interface Member {
  readonly child: ChildProcess;
  readonly first: number;
  readonly count: number;
}

export class Fleet {
  readonly #members: readonly Member[];

  private constructor(members: readonly Member[]) {
    this.#members = members;
  }

  static async open(
    parts: { readonly url: string; readonly token: string; readonly runtimes: number; readonly seed: number },
    record: (event: ChaosEvent) => void,
  ): Promise<Fleet> {
    const { url, token, runtimes, seed } = parts;
    const random = new SeededRandom(seed);
    const members: Member[] = [];
    for (let first = 0; first < runtimes; first += RUNTIMES_PER_PROCESS) {
      const child = spawn(process.execPath, ["--conditions=flagback:source", "--import", "tsx", FLEET], {
        stdio: ["ignore", "inherit", "inherit", "ipc"],
        serialization: "advanced",
      });
      child.on("message", (report: FleetReport) => {
        if (report.kind === "events") for (const event of report.events) record(event);
      });
      members.push({ child, first, count: Math.min(RUNTIMES_PER_PROCESS, runtimes - first) });
    }
    const fleet = new Fleet(members);
    await fleet.#all(({ first, count }) => ({ kind: "open", url, token, first, count, seed: random.seed() }));
    return fleet;
  }

  /** Runs begin. */
  async work(): Promise<void> {
    await this.#all(() => ({ kind: "work" }));
  }

  perform(runtime: number, fault: RuntimeFault): void {
    const member = this.#members.find(({ first, count }) => runtime >= first && runtime < first + count);
    member?.child.send({ kind: "perform", runtime, fault } satisfies FleetCommand);
  }

  /** Ends every fault and every run. */
  async heal(): Promise<void> {
    await this.#all(() => ({ kind: "heal" }));
  }

  /** Resolves when every runtime is in step and has nothing left to report; who is not in time is part of the history. */
  async comeIntoStep(revision: number, withinMs: number): Promise<void> {
    await this.#all(() => ({ kind: "comeIntoStep", revision, withinMs }));
  }

  async close(): Promise<void> {
    const ended = this.#members.map(({ child }) => once(child, "exit"));
    await this.#all(() => ({ kind: "close" }));
    await Promise.all(ended);
  }

  /** For an end without words. */
  kill(): void {
    for (const { child } of this.#members) child.kill("SIGKILL");
  }

  async #all(commandFor: (member: Member) => FleetCommand): Promise<void> {
    await Promise.all(
      this.#members.map((member) => {
        const command = commandFor(member);
        member.child.send(command);
        return done(member.child, command.kind);
      }),
    );
  }
}

/** What was recorded before is told before. */
function done(child: ChildProcess, command: FleetCommand["kind"]): Promise<void> {
  return new Promise((resolve, reject) => {
    const exited = (code: number | null) => reject(new Error(`a fleet's process ended with ${code} before ${command}`));
    const listener = (report: FleetReport) => {
      if (report.kind !== "done" || report.command !== command) return;
      child.off("message", listener).off("exit", exited);
      resolve();
    };
    child.on("message", listener).on("exit", exited);
  });
}
