/**
 * When the whole machine stood still: the host of a virtual machine takes its processors away now and then, and then nobody on
 * it does anything. Seen by two processes that were both late at the same time, one of which has nothing to do but to wake up.
 * One alone may have waited for others.
 */
import { sharedNowMs } from "./clock.ts";

const WAKE_MS = 1;
/** Later than this is a pause: three of the kernel's ticks at 250 Hz, after which whoever slept has had its turn. */
export const LEAST_PAUSE_MS = 12;

/** On the clock that all processes share. */
export interface Pause {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Begins to watch. What it gives back ends that, and answers when this process did not run, which must be idle meanwhile. */
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

/** When both did not run, for long enough. Both lists are in order, and nothing in one overlaps another of it. */
export function commonPauses(some: readonly Pause[], others: readonly Pause[]): Pause[] {
  return some.flatMap((one) =>
    others
      .map((other) => ({ fromMs: Math.max(one.fromMs, other.fromMs), toMs: Math.min(one.toMs, other.toMs) }))
      .filter(({ fromMs, toMs }) => toMs - fromMs > LEAST_PAUSE_MS),
  );
}

export function totalMs(pauses: readonly Pause[]): number {
  return pauses.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
}

/** How much of the time from one moment to another the machine stood still. */
export function pausedMs(pauses: readonly Pause[], sentMs: number, arrivedMs: number): number {
  return pauses.reduce(
    (sum, { fromMs, toMs }) => sum + Math.max(0, Math.min(toMs, arrivedMs) - Math.max(fromMs, sentMs)),
    0,
  );
}
