/**
 * How many outcomes of each version ended how, since the server started: plain numbers, because a labelled counter costs more
 * than counting the outcome itself. No I/O.
 */
import type { Outcome } from "@flagback/schemas";

/** Outcomes of one version, by status. */
export type StatusCounts = Record<Outcome["status"], number>;

export class ReportedOutcomes {
  readonly #byAlias = new Map<string, Map<string, StatusCounts>>();

  /** The version's counts, to count in. */
  of(alias: string, version: string): StatusCounts {
    const versions = this.#byAlias.get(alias) ?? new Map<string, StatusCounts>();
    this.#byAlias.set(alias, versions);
    const found = versions.get(version);
    if (found) return found;
    const none: StatusCounts = { success: 0, failure: 0, timeout: 0, escalated: 0, cancelled: 0, blocked: 0 };
    versions.set(version, none);
    return none;
  }

  /** Outcomes of every version of the alias. */
  totalOf(alias: string): number {
    const versions = [...(this.#byAlias.get(alias)?.values() ?? [])];
    return versions.flatMap((counts) => Object.values(counts)).reduce((sum, n) => sum + n, 0);
  }

  /** Every version that an outcome was counted for. */
  *all(): Iterable<{ readonly alias: string; readonly version: string; readonly counts: Readonly<StatusCounts> }> {
    for (const [alias, versions] of this.#byAlias) {
      for (const [version, counts] of versions) yield { alias, version, counts };
    }
  }
}
