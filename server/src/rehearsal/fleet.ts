/**
 * The runtime processes of a drill, and what each last told about itself.
 */
import type { DrillFault } from "@flagback/schemas";
import { ownProgram, type Program, type RuntimeProcess, startRuntimeProcess } from "../processes/child.ts";
import { followStanding, type RuntimeStanding } from "../processes/runtime-standing.ts";
import type { FromRuntime, Part, Seen, Sighting, ToRuntime } from "./messages.ts";

/** Enough that none of them decides alone, also when one is killed. */
const RUNTIMES = 3;

export interface DrillRuntime extends RuntimeStanding {
  candidateRuns: number;
  /** The answer to the last probe. */
  seen: { readonly number: number; readonly seen: Seen } | undefined;
}

type Process = RuntimeProcess<ToRuntime, FromRuntime>;

export class Fleet {
  readonly #processes = new Map<DrillRuntime, Process>();
  readonly #onLog: (line: string) => void;
  #probes = 0;

  /** `program` is what a runtime process runs; by default the command line's own. */
  constructor(onLog: (line: string) => void, program: Program = ownProgram("drill-runtime")) {
    this.#onLog = onLog;
    for (let index = 1; index <= RUNTIMES; index += 1) {
      const name = `runtime-${index}`;
      const child = startRuntimeProcess<ToRuntime, FromRuntime>(name, program, { type: "end" });
      const runtime: DrillRuntime = { name, instance: undefined, state: "starting", candidateRuns: 0, seen: undefined };
      this.#listen(runtime, child);
      this.#processes.set(runtime, child);
    }
  }

  get all(): readonly DrillRuntime[] {
    return [...this.#processes.keys()];
  }

  /** Those that have not been killed. */
  get living(): readonly DrillRuntime[] {
    return this.all.filter(({ state }) => state !== "killed");
  }

  begin(part: Omit<Part, "runsPerSecond">, runsPerSecond: number): void {
    this.#tell({ type: "begin", part: { ...part, runsPerSecond: runsPerSecond / RUNTIMES } });
  }

  inject(fault: DrillFault | null): void {
    this.#tell({ type: "inject", fault });
  }

  /** Asks each what it sees now. Answers the number that the answers carry. */
  probe(): number {
    this.#probes += 1;
    this.#tell({ type: "probe", number: this.#probes });
    return this.#probes;
  }

  /** Kills one with SIGKILL. */
  crash(): string | undefined {
    const victim = this.living.at(-1);
    if (!victim) return undefined;
    victim.state = "killed";
    this.#processes.get(victim)?.kill();
    return victim.name;
  }

  /** Ends them all. Safe twice. */
  async close(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((child) => child.close()));
  }

  #tell(message: ToRuntime): void {
    for (const child of this.#processes.values()) child.tell(message);
  }

  #listen(runtime: DrillRuntime, child: Process): void {
    child.onLost((how) => {
      runtime.state = "lost";
      this.#onLog(`${runtime.name} ended unexpectedly (${how})`);
    });
    followStanding<ToRuntime, Sighting>(runtime, child, {
      log: this.#onLog,
      besides: (message) => {
        if (message.type === "probed") runtime.seen = message;
        else runtime.candidateRuns = message.candidateRuns;
      },
    });
  }
}
