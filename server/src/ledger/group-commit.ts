/**
 * Makes counts durable in groups: commits rest for max(5 ms, 4 x the last commit's time) from the end of one to the start of
 * the next, so that a slow disk writes larger groups (DESIGN 9). The rest is counted from the commit before and not from a
 * group's first count (ADR 17). A commit that was slow alone, such as one that folded SQLite's journal, says nothing of the
 * disk, so the faster of the last two counts. The commit's time is the disk's alone: a larger group would not make the rows and
 * the acknowledgements any fewer, and waiting for them in proportion would let wait and group raise each other without end. A
 * group that is full goes at once, so that a control change never waits for more than one bounded write. A change writes the
 * counts that it finds, without a rest.
 */
import { timerMs } from "../rest.ts";

export interface GroupCommitOptions {
  /** Least time between the end of one commit and the start of the next, in milliseconds. */
  readonly delayMs: number;
  /** Outcomes in a group that goes at once, also where it has not waited. */
  readonly maxOutcomes: number;
  /** The rest is this many times the own time of the faster of the last two commits, where that is longer. */
  readonly commitTimeFactor: number;
  /** Longest wait, also after failures, in milliseconds. */
  readonly maxDelayMs: number;
}

/** They suit an SSD. */
export const DEFAULT_GROUP_COMMIT: GroupCommitOptions = {
  delayMs: 5,
  maxOutcomes: 10_000,
  commitTimeFactor: 4,
  maxDelayMs: 1_000,
};

export class GroupCommit {
  readonly #flush: () => Promise<number | undefined>;
  readonly #onFailure: (error: unknown) => void;
  readonly #options: GroupCommitOptions;
  #timer: NodeJS.Timeout | undefined;
  #isWriting = false;
  /** When the last commit ended, in milliseconds of the process's own clock. */
  #endedAtMs = Number.NEGATIVE_INFINITY;
  #lastMs = 0;
  /** Of the commit before the last. */
  #formerMs = 0;
  #hasFailed = false;
  #isClosed = false;

  constructor(parts: {
    /** Answers how long the disk took, in milliseconds; undefined where a change had written the counts before. */
    readonly flush: () => Promise<number | undefined>;
    readonly onFailure: (error: unknown) => void;
    readonly options?: Partial<GroupCommitOptions>;
  }) {
    this.#flush = parts.flush;
    this.#onFailure = parts.onFailure;
    this.#options = { ...DEFAULT_GROUP_COMMIT, ...parts.options };
  }

  /** There is something to write: so many outcomes, and whatever else was counted. */
  schedule(outcomes: number): void {
    if (this.#isWriting || this.#isClosed) return;
    const { delayMs, maxOutcomes, commitTimeFactor, maxDelayMs } = this.#options;
    // After a failure only time helps.
    if (outcomes >= maxOutcomes && !this.#hasFailed) {
      clearTimeout(this.#timer);
      void this.#run();
      return;
    }
    if (this.#timer) return;
    const restMs = Math.min(maxDelayMs, Math.max(delayMs, commitTimeFactor * Math.min(this.#lastMs, this.#formerMs)));
    this.#timer = setTimeout(() => void this.#run(), timerMs(this.#endedAtMs + restMs - performance.now()));
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
    this.#timer = undefined;
    this.#isWriting = true;
    try {
      const diskMs = await this.#flush();
      if (diskMs !== undefined) {
        this.#formerMs = this.#lastMs;
        this.#lastMs = diskMs;
        this.#endedAtMs = performance.now();
      }
      this.#hasFailed = false;
      this.#isWriting = false;
    } catch (error) {
      this.#onFailure(error);
      this.#lastMs = this.#options.maxDelayMs;
      this.#formerMs = this.#options.maxDelayMs;
      this.#hasFailed = true;
      this.#endedAtMs = performance.now();
      this.#isWriting = false;
      this.schedule(0);
    }
  }
}
