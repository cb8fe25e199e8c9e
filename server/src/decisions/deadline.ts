/**
 * Whether a decision's deadline has come. Pure, and written so that a clock that jumps errs towards the rollback: the stored
 * moment is compared by the wall clock, the wait itself by one that never goes back.
 */
import type { AskedDecision } from "@flagback/schemas";

type Term = Pick<AskedDecision, "openedAt" | "deadline" | "atDeadline">;

/**
 * How long an open decision still waits, as seen by a process that first looks at it now. Never longer than its whole term, so
 * that a clock that was set back while nobody looked doesn't give it a second one.
 */
export function remainingMs({ openedAt, deadline }: Term, nowMs: number): number {
  const termMs = Date.parse(deadline) - Date.parse(openedAt);
  return Math.min(termMs, Math.max(0, Date.parse(deadline) - nowMs));
}

/**
 * A rollback is due by whichever clock says so first, for going down waits for nobody. To go on, the time must really have
 * passed: a jump ahead takes it from nobody who could still have answered.
 */
export function isDue(
  term: Term,
  waited: { readonly nowMs: number; readonly waitedMs: number; readonly forMs: number },
): boolean {
  if (waited.waitedMs >= waited.forMs) return true;
  return term.atDeadline === "rollback" && waited.nowMs >= Date.parse(term.deadline);
}
