/**
 * Keeps two runs of one process from being one to the server, which counts one outcome for each run id and alias: a retried
 * job brings its id again, and each of its tries is a run. Bounded as `Attribution` is, in two generations.
 */
import { randomBytes } from "node:crypto";
import { MAX_RUN_ID_LENGTH } from "./outcome.ts";

export class RunIds {
  readonly #maxIds: number;
  #young = new Set<string>();
  #old = new Set<string>();

  /** @param maxIds ids of one generation; at most twice as many are remembered */
  constructor(maxIds: number) {
    this.#maxIds = maxIds;
  }

  /** The id as it goes to the server: itself the first time, and with `#` and eight random hex digits after that. */
  claim(alias: string, runId: string): string {
    const key = `${alias} ${runId}`;
    if (this.#young.has(key) || this.#old.has(key)) {
      const suffix = `#${randomBytes(4).toString("hex")}`;
      return runId.slice(0, MAX_RUN_ID_LENGTH - suffix.length) + suffix;
    }
    this.#young.add(key);
    if (this.#young.size >= this.#maxIds) {
      this.#old = this.#young;
      this.#young = new Set();
    }
    return runId;
  }
}
