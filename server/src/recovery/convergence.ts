/**
 * When every runtime follows a rollback: it acknowledged its revision, or its lease is over and it serves no candidate by
 * itself (DESIGN 4).
 */
import type { Incident } from "@flagback/schemas";
import type { SpreadProgress } from "../stream/propagation.ts";

export interface Spread {
  /** How the rollback's revision spread; undefined where the server has started since, or forgot. */
  readonly progress: SpreadProgress | undefined;
  /** Whether each runtime that is there now follows. Asked only where nothing is known of the spread. */
  readonly haveApplied: () => boolean;
  readonly leaseMs: number;
  /** How long this server has run. */
  readonly upMs: number;
  readonly nowMs: number;
}

/** Milliseconds from the commit to the last runtime; `undefined` while some are waited for. */
export function convergenceOf(incident: Incident, spread: Spread): number | undefined {
  const sinceMs = Math.max(0, spread.nowMs - Date.parse(incident.openedAt));
  const { progress } = spread;
  if (!progress) {
    // Who was there at the commit is not known any more: whoever has not come back by now has no lease either.
    return spread.upMs >= spread.leaseMs && spread.haveApplied() ? sinceMs : undefined;
  }
  if (progress.waiting > 0) return undefined;
  return progress.lapsed > 0 ? sinceMs : progress.slowestMs;
}
