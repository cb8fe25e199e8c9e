/**
 * Work in groups rests between two of them; how long a timer waits for what is left of a rest.
 */

/** After a pause, work waits this long, in milliseconds, for what arrives with it. */
export const TOGETHER_MS = 1;

/** In whole milliseconds, as a timer counts, and rounded up, because it would else be early. */
export function timerMs(leftMs: number): number {
  return Math.max(TOGETHER_MS, Math.ceil(leftMs));
}
