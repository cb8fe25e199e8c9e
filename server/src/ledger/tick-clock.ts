/**
 * The server's ticks: one second long, counted only while a server runs, so that an outage is not time in which runs went
 * missing (BRAIN 2.6).
 */

export const TICK_MS = 1_000;
/** Ticks from before a start are timed out no earlier than this after it: their runtimes need time to reconnect. */
const RESTART_GRACE_TICKS = 60;

export class TickClock {
  /** The first tick of this start. */
  readonly startTick: number;
  readonly #monotonicMs: () => number;
  /** When this start began, on the monotonic clock. */
  readonly startedMs: number;

  constructor(startTick: number, monotonicMs: () => number) {
    this.startTick = startTick;
    this.#monotonicMs = monotonicMs;
    this.startedMs = monotonicMs();
  }

  /** The server's monotonic clock. */
  monotonicMs(): number {
    return this.#monotonicMs();
  }

  /** The tick that the server is in. */
  now(): number {
    return this.at(this.#monotonicMs());
  }

  /** The tick of a moment on the monotonic clock. */
  at(monotonicMs: number): number {
    return this.startTick + Math.floor((monotonicMs - this.startedMs) / TICK_MS);
  }

  /** Whether every run assigned in the tick has had its whole timeout. */
  isTimedOut(tick: number, timeoutTicks: number): boolean {
    const now = this.now();
    if (tick >= this.startTick) return now - tick > timeoutTicks;
    return now - this.startTick > Math.max(timeoutTicks, RESTART_GRACE_TICKS);
  }

  /** The tick of a moment that lies `agoMs` in the past, as far back as this start. */
  tickAgo(agoMs: number): number {
    return Math.max(
      this.startTick,
      this.startTick + Math.floor((this.#monotonicMs() - this.startedMs - agoMs) / TICK_MS),
    );
  }
}
