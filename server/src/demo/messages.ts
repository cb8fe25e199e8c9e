/**
 * What the demo and its runtime processes say to each other over their IPC channel: bookkeeping and display only.
 * Flags, outcomes and acknowledgements go through the server, as everywhere.
 */
import type { OfItself } from "../processes/runtime-standing.ts";

/** Demo to runtime. */
export type ToRuntime =
  | {
      readonly type: "begin";
      readonly url: string;
      readonly token: string;
      readonly runtime: number;
      readonly seed: number;
      readonly isCandidateBad: boolean;
    }
  /** Start so many runs a second from now on. */
  | { readonly type: "pace"; readonly runsPerSecond: number }
  | { readonly type: "end" };

/** Runtime to demo. */
export type FromRuntime = OfItself | ProgressMessage;
export type ProgressMessage = { readonly type: "progress"; readonly progress: Progress };

/** Everything that a runtime counted, since its start. */
export interface Progress {
  readonly runs: number;
  readonly writesDone: number;
  readonly writesRefused: number;
  /** What the guard said when it refused the first write. */
  readonly firstRefusal?: string;
  /** Resolutions by the revision that the runtime had applied when it made them, ascending. */
  readonly resolutions: readonly ResolutionCount[];
}

export interface ResolutionCount {
  readonly revision: number;
  readonly all: number;
  /** Those that served the candidate. */
  readonly candidate: number;
}

/** Resolutions made with `revision` or a later one applied. */
export function resolutionsSince(progress: Progress, revision: number): { all: number; candidate: number } {
  let all = 0;
  let candidate = 0;
  for (const count of progress.resolutions) {
    if (count.revision < revision) continue;
    all += count.all;
    candidate += count.candidate;
  }
  return { all, candidate };
}
