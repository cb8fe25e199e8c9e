/** What a process has used so far. */
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { sharedNowMs } from "./clock.ts";
import { runQueueMs } from "./run-queue.ts";

export interface Usage {
  /** User and system time, in milliseconds. */
  readonly cpuMs: number;
  readonly rssBytes: number;
  /** The most that was resident since the process began. */
  readonly peakRssBytes: number;
  readonly heapBytes: number;
  /** Sockets, timers and files that keep the process alive. */
  readonly handles: number;
  /** Longest time that the event loop stood still since the last look, in milliseconds. */
  readonly maxLoopDelayMs: number;
  /** The same without what other processes took of the processor meanwhile. */
  readonly maxOwnLoopDelayMs: number;
  readonly p99LoopDelayMs: number;
}

const RESOLUTION_MS = 5;
const PAGES_RETURN_MS = 250;
let delays: IntervalHistogram | undefined;
let watching: NodeJS.Timeout | undefined;
let maxOwnDelayMs = 0;

/** Looks, after a collection of garbage where that is asked for and Node was told to expose it. */
export async function askForUsage({ collect, goOn }: { collect: boolean; goOn?: boolean }): Promise<Usage> {
  if (!collect) return lookAtUsage(goOn);
  collectGarbage();
  // At once, because a server that goes on makes megabytes of new garbage while the pages return.
  const heapBytes = heapBytesNow();
  // Pages that are free now go back to the system on other threads.
  await sleep(PAGES_RETURN_MS);
  return { ...lookAtUsage(goOn), heapBytes };
}

/** Looks, and begins to measure the event loop's delay anew unless it is to go on. */
export function lookAtUsage(goOn = false): Usage {
  const { user, system } = process.cpuUsage();
  const usage: Usage = {
    cpuMs: (user + system) / 1_000,
    rssBytes: process.memoryUsage.rss(),
    peakRssBytes: process.resourceUsage().maxRSS * 1_024,
    heapBytes: heapBytesNow(),
    handles: process.getActiveResourcesInfo().length,
    maxLoopDelayMs: Math.max(0, (delays?.max ?? 0) / 1e6 - RESOLUTION_MS),
    maxOwnLoopDelayMs: maxOwnDelayMs,
    p99LoopDelayMs: Math.max(0, (delays?.percentile(99) ?? 0) / 1e6 - RESOLUTION_MS),
  };
  if (goOn) return usage;
  delays?.disable();
  delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  watchOwnDelays();
  return usage;
}

/** And moves what is left together: gaps between what is kept come and go over minutes, and would hide a slow leak or look like one. */
function collectGarbage(): void {
  setFlagsFromString("--compact-on-every-full-gc");
  globalThis.gc?.();
  setFlagsFromString("--no-compact-on-every-full-gc");
}

function heapBytesNow(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** User and system time, in microseconds. */
export function cpuUsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function watchOwnDelays(): void {
  clearInterval(watching);
  maxOwnDelayMs = 0;
  let before = { nowMs: sharedNowMs(), waitedMs: runQueueMs() };
  watching = setInterval(() => {
    const now = { nowMs: sharedNowMs(), waitedMs: runQueueMs() };
    const ownMs = now.nowMs - before.nowMs - (now.waitedMs - before.waitedMs) - RESOLUTION_MS;
    maxOwnDelayMs = Math.max(maxOwnDelayMs, ownMs);
    before = now;
  }, RESOLUTION_MS);
  watching.unref();
}
