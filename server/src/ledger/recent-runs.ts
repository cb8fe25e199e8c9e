/**
 * The last runs that were counted: one outcome counts for each (runId, alias), within a window that survives restarts.
 */
import type { LedgerKey, RunRow } from "../store/store.ts";

/** Runs remembered. An outcome repeated after so many others is counted again; batches of the stream never are. */
export const RUN_WINDOW = 200_000;
/** Ids that a decision names as the last ones counted. */
const LAST_RUN_IDS = 20;

export class RecentRuns {
  /** Who reported each run. */
  readonly #known = new Map<string, string>();
  /** The same runs by age, oldest at `#oldest` once it is full: a Map takes ever longer to find its oldest key. */
  readonly #ring: string[] = [];
  #oldest = 0;
  readonly #lastIds = new Map<string, string[]>();

  constructor(runs: readonly RunRow[]) {
    for (const run of runs) this.add(run, "");
  }

  has(alias: string, runId: string): boolean {
    return this.#known.has(`${alias} ${runId}`);
  }

  /** The instance or token that reported the run; empty where that was before this start. */
  reporterOf(alias: string, runId: string): string | undefined {
    return this.#known.get(`${alias} ${runId}`);
  }

  add(run: RunRow, reporter: string): void {
    this.#remember(`${run.alias} ${run.runId}`, reporter);
    const key = ledgerKey(run);
    const ids = this.#lastIds.get(key) ?? [];
    ids.push(run.runId);
    if (ids.length > LAST_RUN_IDS) ids.shift();
    this.#lastIds.set(key, ids);
  }

  /** Ids of the last runs counted for the version in the rollout, oldest first. */
  lastOf(key: LedgerKey): string[] {
    return [...(this.#lastIds.get(ledgerKey(key)) ?? [])];
  }

  #remember(name: string, reporter: string): void {
    const isNew = !this.#known.has(name);
    this.#known.set(name, reporter);
    if (!isNew) return;
    if (this.#ring.length < RUN_WINDOW) {
      this.#ring.push(name);
      return;
    }
    this.#known.delete(this.#ring[this.#oldest] ?? "");
    this.#ring[this.#oldest] = name;
    this.#oldest = (this.#oldest + 1) % RUN_WINDOW;
  }
}

function ledgerKey({ alias, version, rolloutNumber }: LedgerKey): string {
  return `${alias} ${version} ${rolloutNumber}`;
}
