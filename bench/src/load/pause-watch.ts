/**
 * When the whole machine stood still: a virtual machine's host takes its processors away now and then, and then nobody on it
 * does anything. Seen by a process that has nothing to do but to wake up, and is late. On two processors a process that is
 * busy does not make it late: the kernel lets one that slept go first.
 */
import { sharedNowMs } from "./clock.ts";

const WAKE_MS = 1;
/** Later than this is a pause. A slice of the scheduler is 3 ms. */
const LEAST_PAUSE_MS = 6;

/** On the clock that all processes share. */
export interface Pause {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Begins to watch. What it gives back ends that, and answers the pauses. The calling process must be idle meanwhile. */
export function watchPauses(): () => Pause[] {
  const pauses: Pause[] = [];
  let awakeMs = sharedNowMs();
  const timer = setInterval(() => {
    const nowMs = sharedNowMs();
    if (nowMs - awakeMs > LEAST_PAUSE_MS) pauses.push({ fromMs: awakeMs, toMs: nowMs });
    awakeMs = sharedNowMs();
  }, WAKE_MS);
  return () => {
    clearInterval(timer);
    return pauses;
  };
}

/** Whether what was on its way from one moment to another had the machine standing still meanwhile. */
export function wasKeptWaiting(pauses: readonly Pause[], sentMs: number, arrivedMs: number): boolean {
  return pauses.some(({ fromMs, toMs }) => sentMs < toMs && arrivedMs > fromMs);
}
