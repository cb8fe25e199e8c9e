/**
 * A server's clocks that a test moves on, so that an hour passes without waiting for it.
 */
import type { ServerClock } from "flagback";

export class MovedClock implements ServerClock {
  #movedMs = 0;
  readonly nowMs = (): number => Date.now() + this.#movedMs;
  readonly monotonicMs = (): number => performance.now() + this.#movedMs;

  passSeconds(seconds: number): void {
    this.#movedMs += seconds * 1_000;
  }
}
