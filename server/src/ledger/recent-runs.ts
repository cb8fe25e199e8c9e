/**
 * The last runs that were counted: one outcome counts for each (runId, alias), within a window that survives restarts.
 */

/** Runs remembered at least; at most twice as many. An outcome that comes again after more is counted again. */
export const RUN_WINDOW = 200_000;

/** Who reported each run, by alias and run id. */
type Generation = Map<string, Map<string, string>>;

export class RecentRuns {
  // Two generations, of which the elder is forgotten as a whole: cheaper than forgetting runs one by one, because a Map that
  // many keys leave is moved again and again.
  #young: Generation = new Map();
  #old: Generation = new Map();
  #youngRuns = 0;

  has(alias: string, runId: string): boolean {
    return this.reporterOf(alias, runId) !== undefined;
  }

  /** The instance or token that reported the run; empty where that was before this start. */
  reporterOf(alias: string, runId: string): string | undefined {
    return this.#young.get(alias)?.get(runId) ?? this.#old.get(alias)?.get(runId);
  }

  add(alias: string, runId: string, reporter: string): void {
    let runs = this.#young.get(alias);
    if (runs === undefined) {
      runs = new Map();
      this.#young.set(alias, runs);
    }
    runs.set(runId, reporter);
    this.#youngRuns += 1;
    if (this.#youngRuns < RUN_WINDOW) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#youngRuns = 0;
  }
}
