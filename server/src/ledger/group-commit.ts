/**
 * Makes counts durable in groups: the first count of a group waits at most max(5 ms, 4 x the last commit's time), so that
 * a slow disk writes larger groups (DESIGN 9).
 */

/** Options of the group commit, with defaults that suit an SSD. */
export interface GroupCommitOptions {
  /** Least time that a count waits for others, in milliseconds. */
  readonly delayMs: number;
  /** The wait is this many times the last commit's own time, where that is longer. */
  readonly commitTimeFactor: number;
  /** Longest wait, also after failures, in milliseconds. */
  readonly maxDelayMs: number;
}

const DEFAULT_GROUP_COMMIT: GroupCommitOptions = { delayMs: 5, commitTimeFactor: 4, maxDelayMs: 1_000 };

export class GroupCommit {
  readonly #flush: () => Promise<void>;
  readonly #onFailure: (error: unknown) => void;
  readonly #options: GroupCommitOptions;
  #timer: NodeJS.Timeout | undefined;
  #lastMs = 0;
  #isClosed = false;

  constructor(parts: {
    readonly flush: () => Promise<void>;
    readonly onFailure: (error: unknown) => void;
    readonly options?: Partial<GroupCommitOptions>;
  }) {
    this.#flush = parts.flush;
    this.#onFailure = parts.onFailure;
    this.#options = { ...DEFAULT_GROUP_COMMIT, ...parts.options };
  }

  /** There is something to write. */
  schedule(): void {
    if (this.#timer || this.#isClosed) return;
    const { delayMs, commitTimeFactor, maxDelayMs } = this.#options;
    const waitMs = Math.min(maxDelayMs, Math.max(delayMs, commitTimeFactor * this.#lastMs));
    this.#timer = setTimeout(() => void this.#run(), waitMs);
  }

  /** Writes what is left and stops. Safe twice. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#flush();
  }

  async #run(): Promise<void> {
    const begun = performance.now();
    try {
      await this.#flush();
      this.#lastMs = performance.now() - begun;
      this.#timer = undefined;
    } catch (error) {
      this.#onFailure(error);
      this.#timer = undefined;
      this.#lastMs = this.#options.maxDelayMs;
      this.schedule();
    }
  }
}
