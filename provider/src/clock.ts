/**
 * The two clocks that a lease is measured with.
 */
// The global of the same name is looked up through a getter at each read.
import { performance } from "node:perf_hooks";

/** One moment on both clocks. */
export interface Instant {
  /** Never goes back; may stand still while the machine sleeps. */
  readonly monotonicMs: number;
  /** Counts through a sleep; may jump either way. */
  readonly wallMs: number;
}

export interface Clock {
  monotonicMs(): number;
  wallMs(): number;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
};

export function instantOf(clock: Clock): Instant {
  return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
}
