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

/** The lease that runs longer, judged by when it was asked. Answers may overtake each other. */
export function laterLease(a: Lease | null, b: Lease): Lease {
  return a !== null && a.asked.monotonicMs + a.leaseMs > b.asked.monotonicMs + b.leaseMs ? a : b;
}

/**
 * Milliseconds since `asked`: the larger of both clocks. A forward jump only expires early, a backward jump is ignored, and
 * a machine that slept is caught by its wall clock.
 */
function elapsedMs(asked: Instant, monotonicMs: number, wallMs: number): number {
  return Math.max(monotonicMs - asked.monotonicMs, wallMs - asked.wallMs);
}
