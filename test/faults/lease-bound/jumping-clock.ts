/**
 * The machine's clocks with what can happen to them: the wall clock jumps, or both stand still.
 */
import type { Clock } from "@flagback/provider";

export class JumpingClock implements Clock {
  #jumpedMs = 0;
  #stopped: { readonly monotonicMs: number; readonly wallMs: number } | null = null;

  monotonicMs(): number {
    return this.#stopped?.monotonicMs ?? performance.now();
  }

  wallMs(): number {
    return this.#stopped?.wallMs ?? Date.now() + this.#jumpedMs;
  }

  /** Somebody sets the wall clock. */
  jump(ms: number): void {
    this.#jumpedMs += ms;
  }

  /** No time passes any more: what no real clock does, so that a check without the lease can be seen to fail. */
  stop(): void {
    this.#stopped = { monotonicMs: this.monotonicMs(), wallMs: this.wallMs() };
  }

  start(): void {
    this.#stopped = null;
  }
}
