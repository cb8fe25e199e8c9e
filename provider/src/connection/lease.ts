/**
 * The lease (DESIGN 6): the permission to trust what we hold, measured from the moment we asked.
 */
import type { Clock, Instant } from "../clock.ts";

/** A lease runs from the ask, not from the answer, so that the answer's way back costs us and not the bound. */
export interface Lease {
  readonly asked: Instant;
  readonly leaseMs: number;
}

/** Whether the lease runs, or ran out less than `graceMs` ago. No lease never does. */
export function isLeaseLive(lease: Lease | null, monotonicMs: number, wallMs: number, graceMs = 0): boolean {
  return lease !== null && elapsedMs(lease.asked, monotonicMs, wallMs) < lease.leaseMs + graceMs;
}

/**
 * The end of a lease on both clocks, side by side in memory: every evaluation asks for it, after code that has displaced
 * everything of ours from the processor's caches. The rule is `isLeaseLive`'s.
 */
export class LeaseEnd {
  readonly #atMs = Float64Array.of(Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY);

  set(lease: Lease | null): void {
    this.#atMs[0] = lease === null ? Number.NEGATIVE_INFINITY : lease.asked.monotonicMs + lease.leaseMs;
    this.#atMs[1] = lease === null ? Number.NEGATIVE_INFINITY : lease.asked.wallMs + lease.leaseMs;
  }

  isAhead(clock: Clock, graceMs: number): boolean {
    const ends = this.#atMs;
    return clock.monotonicMs() < (ends[0] as number) + graceMs && clock.wallMs() < (ends[1] as number) + graceMs;
  }
}

/** The lease that has longer to run as of `now`. Answers may overtake each other. */
export function longerLease(a: Lease | null, b: Lease, now: Instant): Lease {
  return a !== null && leftMs(a, now) > leftMs(b, now) ? a : b;
}

function leftMs({ asked, leaseMs }: Lease, now: Instant): number {
  return leaseMs - elapsedMs(asked, now.monotonicMs, now.wallMs);
}

/**
 * Milliseconds since `asked`: the larger of both clocks. A forward jump only expires early, a backward jump is ignored, and
 * a machine that slept is caught by its wall clock.
 */
function elapsedMs(asked: Instant, monotonicMs: number, wallMs: number): number {
  return Math.max(monotonicMs - asked.monotonicMs, wallMs - asked.wallMs);
}
