/**
 * The lease (DESIGN 6): the permission to trust what we hold, measured from the moment we asked.
 */
import type { Instant } from "../clock.ts";

/** A lease runs from the ask, not from the answer, so that the answer's way back costs us and not the bound. */
export interface Lease {
  readonly asked: Instant;
  readonly leaseMs: number;
}

/** Whether the lease runs, or ran out less than `graceMs` ago. No lease never does. */
export function isLeaseLive(lease: Lease | null, monotonicMs: number, wallMs: number, graceMs = 0): boolean {
  return lease !== null && elapsedMs(lease.asked, monotonicMs, wallMs) < lease.leaseMs + graceMs;
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
