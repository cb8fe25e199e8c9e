/**
 * When the server asks runtimes to report more slowly. It sheds no outcome itself: what waits in a runtime's outbox is
 * bounded there, and counted where it is dropped.
 */

/** Counts that wait longer than this for their commit say that the event loop or the disk can't keep up. */
export const SLOW_DOWN_AFTER_MS = 250;
/** Longest pause that is asked for. Runtimes then send fewer and larger batches, which cost less. */
export const MAX_SLOW_DOWN_MS = 5_000;
/** The pause is this many times the wait. */
const PAUSE_FACTOR = 4;

/** The pause between two batches to ask for, in milliseconds; 0 is none. `waitedMs` is how long the oldest count waited. */
export function slowDownFor(waitedMs: number): number {
  if (waitedMs <= SLOW_DOWN_AFTER_MS) return 0;
  return Math.min(MAX_SLOW_DOWN_MS, Math.round(PAUSE_FACTOR * waitedMs));
}
