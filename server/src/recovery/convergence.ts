/**
 * When every runtime follows a rollback: it acknowledged its revision, or its lease is over and it serves no candidate by
 * itself (DESIGN 4).
 */
import type { Incident, Propagation, Runtime } from "@flagback/schemas";

export interface Spread {
  /** How the rollback's revision spread; undefined where the server has started since, or forgot. */
  readonly propagation: (Propagation & { readonly acknowledgements: readonly { readonly ms: number }[] }) | undefined;
  /** Runtimes that are there now. */
  readonly runtimes: readonly Pick<Runtime, "appliedRevision">[];
  readonly leaseMs: number;
  /** How long this server has run. */
  readonly upMs: number;
  readonly nowMs: number;
}

/** Milliseconds from the commit to the last runtime; `undefined` while some are waited for. */
export function convergenceOf(incident: Incident, spread: Spread): number | undefined {
  const sinceMs = Math.max(0, spread.nowMs - Date.parse(incident.openedAt));
  const { propagation } = spread;
  if (!propagation) {
    // Who was there at the commit is not known any more: whoever has not come back by now has no lease either.
    const follows = ({ appliedRevision }: Pick<Runtime, "appliedRevision">) =>
      appliedRevision !== null && appliedRevision >= incident.revision;
    return spread.upMs >= spread.leaseMs && spread.runtimes.every(follows) ? sinceMs : undefined;
  }
  const { acknowledged, lapsed, runtimes, acknowledgements } = propagation;
  if (acknowledged + lapsed < runtimes) return undefined;
  return lapsed > 0 ? sinceMs : Math.max(0, ...acknowledgements.map(({ ms }) => ms));
}
