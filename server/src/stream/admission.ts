/**
 * How many streams may open in a second. Those beyond queue in thought: each is told to come back when its turn would be,
 * so that a fleet that returns at once comes back spread out and not as a second crowd.
 */
import { MAX_RETRY_AFTER_SECONDS } from "../limits.ts";

export class AdmissionRate {
  readonly #perSecond: number;
  readonly #burst: number;
  #atMs = Number.NEGATIVE_INFINITY;
  /** Openings that may happen at once. */
  #permits: number;
  /** Openings that were put off and whose turn has not come yet. */
  #putOff = 0;

  constructor(limits: { readonly perSecond: number; readonly burst: number }) {
    this.#perSecond = limits.perSecond;
    this.#burst = limits.burst;
    this.#permits = limits.burst;
  }

  /** Answers 0 when a stream may open now, else in how many milliseconds it should ask again. */
  ask(nowMs: number): number {
    const gained = (Math.max(0, nowMs - this.#atMs) / 1_000) * this.#perSecond;
    this.#atMs = Math.max(this.#atMs, nowMs);
    this.#permits = Math.min(this.#burst, this.#permits + gained);
    this.#putOff = Math.max(0, this.#putOff - gained);
    if (this.#permits >= 1) {
      this.#permits -= 1;
      return 0;
    }
    this.#putOff += 1;
    return Math.min(MAX_RETRY_AFTER_SECONDS * 1_000, (this.#putOff / this.#perSecond) * 1_000);
  }
}
