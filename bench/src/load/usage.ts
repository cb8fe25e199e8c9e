/** What a process has used so far. */
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";

export interface Usage {
  /** User and system time, in milliseconds. */
  readonly cpuMs: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
  /** Sockets, timers and files that keep the process alive. */
  readonly handles: number;
  /** Longest time that the event loop stood still since the last look, in milliseconds. */
  readonly maxLoopDelayMs: number;
  readonly p99LoopDelayMs: number;
}

let delays: IntervalHistogram | undefined;
const RESOLUTION_MS = 5;

/** Looks, and begins to measure the event loop's delay anew. Collects garbage first where Node was told to expose it. */
export function lookAtUsage(collect = false): Usage {
  if (collect) globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  const maxMs = delays === undefined ? 0 : delays.max / 1e6 - RESOLUTION_MS;
  const p99Ms = delays === undefined ? 0 : delays.percentile(99) / 1e6 - RESOLUTION_MS;
  delays?.disable();
  delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  return {
    cpuMs: (user + system) / 1_000,
    rssBytes: rss,
    heapBytes: heapUsed + external,
    handles: process.getActiveResourcesInfo().length,
    maxLoopDelayMs: Math.max(0, maxMs),
    p99LoopDelayMs: Math.max(0, p99Ms),
  };
}
