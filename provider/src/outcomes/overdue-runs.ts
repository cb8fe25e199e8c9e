/**
 * Runs that are open past a latency limit, so that a hang is judged at the limit and not when its outcome is given up. One
 * queue holds every watched run under the next limit that it passes; the caller brings the time.
 */
import type { Overdue } from "@flagback/schemas";
import { MAX_WATCHED_RUNS } from "../limits.ts";
import type { Announcement } from "./assignments.ts";
import { DueQueue, type Queued } from "./due-queue.ts";
import { type Counted, RunGroups } from "./run-groups.ts";

/** One limit that a run passed. */
interface Passed {
  readonly limitMs: number;
  /** The batch that says so; null while it waits for one. */
  seq: number | null;
}

interface WatchedRun extends Queued {
  readonly announcement: Announcement;
  readonly startedMs: number;
  readonly limitsMs: readonly number[];
  /** Index of the limit that it passes next. */
  next: number;
  passed: readonly Passed[];
}

export class OverdueRuns {
  /** Open, or ended without a durable outcome. */
  readonly #runs = new Map<Announcement, WatchedRun>();
  readonly #queue = new DueQueue<WatchedRun>();
  /** Passed a limit that no batch carries yet. */
  readonly #waiting = new Set<WatchedRun>();

  /**
   * Watches a run from its start. With `MAX_WATCHED_RUNS` under watch, it isn't: its latency is judged by its outcome.
   *
   * @param limitsMs ascending
   */
  watch(announcement: Announcement, startedMs: number, limitsMs: readonly number[]): void {
    if (this.#runs.size >= MAX_WATCHED_RUNS || limitsMs.length === 0 || !Number.isFinite(startedMs)) return;
    const run: WatchedRun = { announcement, startedMs, limitsMs, next: 0, passed: [], dueMs: 0, place: -1 };
    this.#runs.set(announcement, run);
    this.#requeue(run);
  }

  /** The first moment at which `notice` finds something: a limit is passed once it is exceeded. */
  nextDueMs(): number | null {
    const first = this.#queue.first;
    return first ? Math.floor(first.dueMs) + 1 : null;
  }

  /** Finds the runs that have passed a limit. Answers when the first of them did; null where none has. */
  notice(nowMs: number): number | null {
    const firstMs = this.#queue.first?.dueMs;
    if (firstMs === undefined || firstMs >= nowMs) return null;
    for (let run = this.#queue.first; run && run.dueMs < nowMs; run = this.#queue.first) {
      this.#queue.remove(run);
      this.#pass(run, nowMs);
      this.#requeue(run);
    }
    return firstMs;
  }

  /**
   * The run is over; it passed what limits it passed until then. The duration that it reports counts where it is shorter than
   * its age, so that what only its end brings to light can't contradict its outcome.
   */
  end(announcement: Announcement, nowMs: number, durationMs = Number.POSITIVE_INFINITY): void {
    const run = this.#runs.get(announcement);
    if (!run) return;
    this.#queue.remove(run);
    this.#pass(run, Math.min(nowMs, run.startedMs + durationMs));
  }

  /** Limits that the run passed while it was open, ascending. */
  limitsPassedMs(announcement: Announcement): number[] {
    return this.#runs.get(announcement)?.passed.map(({ limitMs }) => limitMs) ?? [];
  }

  /** Whether no batch carries it yet that the run passed one of its limits. Its outcome must not go before that. */
  isWaiting(announcement: Announcement): boolean {
    const run = this.#runs.get(announcement);
    return run !== undefined && this.#waiting.has(run);
  }

  get hasWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** Groups what waits of announced runs and marks it as carried by batch `seq`, as many groups as it may hold. */
  take(seq: number, maxGroups: number): readonly Overdue[] {
    const groups = new RunGroups<Omit<Counted<Overdue>, "n">>(maxGroups);
    for (const run of this.#waiting) {
      const { alias, version, seq: assignedSeq } = run.announcement;
      if (assignedSeq === null) continue;
      for (const passed of run.passed) {
        if (passed.seq !== null) continue;
        const key = `${assignedSeq} ${alias} ${version} ${passed.limitMs}`;
        if (groups.add(key, { assignedSeq, alias, version, limitMs: passed.limitMs })) passed.seq = seq;
      }
      if (run.passed.every((passed) => passed.seq !== null)) this.#waiting.delete(run);
    }
    return groups.all;
  }

  /** The run's outcome is durable, or it or its assignment is lost. */
  forget(announcement: Announcement): void {
    const run = this.#runs.get(announcement);
    if (!run) return;
    this.#queue.remove(run);
    this.#waiting.delete(run);
    this.#runs.delete(announcement);
  }

  /** Batch `seq` will never be counted. What it said is not said again: it may be what the server refused it for. */
  lose(seq: number): void {
    for (const run of this.#runs.values()) run.passed = run.passed.filter((passed) => passed.seq !== seq);
  }

  /** Nothing after batch `through` was counted: what was said there waits again. */
  reopen(through: number): void {
    for (const run of this.#runs.values()) {
      for (const passed of run.passed) {
        if (passed.seq !== null && passed.seq <= through) continue;
        passed.seq = null;
        this.#waiting.add(run);
      }
    }
  }

  /** Compares as `notice` does, on the clock: ages would be rounded differently. */
  #pass(run: WatchedRun, untilMs: number): void {
    for (let limitMs = run.limitsMs[run.next]; limitMs !== undefined; limitMs = run.limitsMs[run.next]) {
      if (run.startedMs + limitMs >= untilMs) return;
      run.passed = [...run.passed, { limitMs, seq: null }];
      run.next += 1;
      this.#waiting.add(run);
    }
  }

  #requeue(run: WatchedRun): void {
    const limitMs = run.limitsMs[run.next];
    if (limitMs === undefined) return;
    run.dueMs = run.startedMs + limitMs;
    this.#queue.add(run);
  }
}
