/**
 * Many runtimes in one process, told by its parent what happens to them; their history goes back to it.
 */
import { SeededRandom } from "../../support/seeded-random.ts";
import { machineMs } from "../lease-bound/machine-clock.ts";
import { ChaosRuntime } from "./chaos-runtime.ts";
import type { ChaosEvent } from "./history.ts";
import type { RuntimeFault } from "./schedule.ts";

export type FleetCommand =
  | {
      readonly kind: "open";
      readonly url: string;
      readonly token: string;
      readonly first: number;
      readonly count: number;
      readonly seed: number;
    }
  | { readonly kind: "work" }
  | { readonly kind: "perform"; readonly runtime: number; readonly fault: RuntimeFault }
  /** No fault is left, and no run is begun any more. */
  | { readonly kind: "heal" }
  | { readonly kind: "comeIntoStep"; readonly revision: number; readonly withinMs: number }
  | { readonly kind: "close" };

export type FleetReport =
  | { readonly kind: "events"; readonly events: readonly ChaosEvent[] }
  | { readonly kind: "done"; readonly command: FleetCommand["kind"] };

/** How often each runtime is asked what it answers, and how often it begins a run on average. */
const READ_EVERY_MS = 25;
const RUN_EVERY_MS = 500;
const TELL_EVERY_MS = 100;

const runtimes: ChaosRuntime[] = [];
let first = 0;
let events: ChaosEvent[] = [];
let random = new SeededRandom(0);
let isWorking = false;

const record = (event: ChaosEvent) => void events.push(event);
for (const name of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(name, (error: unknown) => {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    record({ kind: "escaped", atMs: machineMs(), who: "a fleet's process", detail });
  });
}
process.on("message", async (command: FleetCommand) => {
  await carryOut(command);
  if (command.kind === "perform") return;
  for (const runtime of runtimes) runtime.tell();
  tell();
  process.send?.({ kind: "done", command: command.kind } satisfies FleetReport);
  if (command.kind === "close") process.disconnect();
});
// Nobody is left to tell.
process.on("disconnect", () => process.exit());

setInterval(() => {
  for (const runtime of runtimes) {
    runtime.read();
    if (isWorking && random.chance(READ_EVERY_MS / RUN_EVERY_MS)) runtime.run();
  }
}, READ_EVERY_MS);
setInterval(tell, TELL_EVERY_MS);

async function carryOut(command: FleetCommand): Promise<void> {
  switch (command.kind) {
    case "open": {
      const { url, token, count, seed } = command;
      first = command.first;
      random = new SeededRandom(seed);
      const upstream = { url, token };
      for (let i = first; i < first + count; i++) {
        runtimes.push(await ChaosRuntime.open(i, random.seed(), () => upstream, record));
      }
      return;
    }
    case "work":
      isWorking = true;
      return;
    case "perform":
      runtimes[command.runtime - first]?.perform(command.fault);
      return;
    case "heal":
      isWorking = false;
      await Promise.all(runtimes.map((runtime) => runtime.heal()));
      return;
    case "comeIntoStep":
      await inStep(command.revision, machineMs() + command.withinMs);
      return;
    case "close":
      await Promise.all(runtimes.map((runtime) => runtime.close()));
  }
}

async function inStep(revision: number, deadlineMs: number): Promise<void> {
  for (const [i, runtime] of runtimes.entries()) {
    for (;;) {
      const lag = runtime.lag(revision);
      if (lag === undefined) break;
      if (machineMs() > deadlineMs) {
        record({ kind: "notInStep", atMs: machineMs(), who: `runtime ${first + i}`, detail: lag });
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, READ_EVERY_MS));
    }
  }
}

function tell(): void {
  if (events.length === 0) return;
  process.send?.({ kind: "events", events } satisfies FleetReport);
  events = [];
}
