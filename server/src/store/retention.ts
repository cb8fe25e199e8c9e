/**
 * How long what is over is kept, and its end: dropped in small steps between the server's other work, and never before its
 * term.
 */
import { setImmediate, setTimeout } from "node:timers/promises";
import { Duration, durationMs, FlagbackError } from "@flagback/schemas";
import type { Logger } from "pino";
import type { InUse } from "./in-use.ts";
import type { Prunable, PruneStep } from "./store.ts";

/** Rows that go in one transaction at most, and in the first one. */
const MAX_ROWS_PER_STEP = 64;
/** A step that takes longer is followed by smaller ones: a change that comes meanwhile waits for it. */
const STEP_TARGET_MS = 4;
/** Between two steps, and not less than {@link PAUSE_FACTOR} times the step before. */
const PAUSE_MS = 20;
const PAUSE_FACTOR = 4;
/** Drifting clocks may differ by this; a clock that jumps ahead makes nothing older. */
const CLOCK_SLACK_MS = 60_000;

/** Terms in milliseconds; `rollouts` is how many of each alias. */
export type Terms = Readonly<Record<Exclude<Prunable, "requests">, number>>;

/** What is kept unless `--keep` says otherwise. */
const DEFAULT_KEEP: Readonly<Record<keyof Terms, string>> = {
  audit: "400d",
  incidents: "400d",
  alerts: "30d",
  feedback: "90d",
  rollouts: "50",
};

/** A repeated `Idempotency-Key` is recognised for a day, as docs/errors.md promises. */
const REQUESTS_MS = 86_400_000;
/** The rollout under way, and the one before it, whose last runs may still end. */
const LEAST_ROLLOUTS = 2;
/** What was done in the last day is always there to look at. */
const LEAST_MS = 86_400_000;

/** Reads `NAME=TERM` as `flagback serve --keep` takes it. @throws FlagbackError `usage` that lists every problem */
export function parseKeep(texts: readonly string[]): Terms {
  const keep = { ...DEFAULT_KEEP };
  const problems: string[] = [];
  for (const text of texts) {
    const [name = "", term = "", ...rest] = text.split("=");
    if (!Object.hasOwn(keep, name) || rest.length > 0) {
      problems.push(`${text}: what is kept is one of ${Object.keys(keep).join(", ")}`);
    } else if (name === "rollouts" && !(/^\d{1,6}$/.test(term) && Number(term) >= LEAST_ROLLOUTS)) {
      problems.push(`${text}: give a number of rollouts, at least ${LEAST_ROLLOUTS}`);
    } else if (name !== "rollouts" && !(Duration.safeParse(term).success && durationMs(term) >= LEAST_MS)) {
      problems.push(`${text}: give a time of at least a day, such as 90d`);
    }
    keep[name as keyof Terms] = term;
  }
  if (problems.length > 0) {
    throw new FlagbackError({
      code: "usage",
      message: `--keep: ${problems.join("; ")}.`,
      hint: "Write --keep audit=400d, and once more for each other term.",
      problems,
    });
  }
  const { rollouts, ...times } = keep;
  const ms = Object.entries(times).map(([name, term]) => [name, durationMs(term)]);
  return { ...Object.fromEntries(ms), rollouts: Number(rollouts) } as Terms;
}

export interface RetentionParts {
  readonly prune: (step: PruneStep) => Promise<number>;
  /** What may not be dropped yet. It only gets less for what is past its term, so it is asked once for each run. */
  readonly inUse: () => InUse;
  readonly terms: Terms;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  readonly onPruned: (what: Prunable, rows: number) => void;
  readonly log: Pick<Logger, "info">;
  /** Lets others go on for so long; 0 is one turn of the event loop. Default: real time. */
  readonly pause?: (ms: number) => Promise<unknown>;
}

export class Retention {
  readonly #parts: RetentionParts;
  readonly #pause: (ms: number) => Promise<unknown>;
  readonly #startedMs: number;
  readonly #ending = new AbortController();
  #rows = MAX_ROWS_PER_STEP;
  #running: Promise<void> | undefined;

  constructor(parts: RetentionParts) {
    this.#parts = parts;
    this.#pause = parts.pause ?? pauseUnref;
    this.#startedMs = parts.now() - parts.monotonicMs();
  }

  /** Drops what is past its term, unless that is being done already. Rejects where the disk refuses; the rest waits. */
  run(): Promise<void> {
    this.#running ??= this.#runOnce().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Ends after the step under way. Safe twice. */
  async close(): Promise<void> {
    this.#ending.abort();
    await this.#running?.catch(() => undefined);
  }

  async #runOnce(): Promise<void> {
    const dropped: Partial<Record<Prunable, number>> = {};
    for (const step of this.#steps()) {
      let isMore = true;
      while (isMore && !this.#ending.signal.aborted) {
        const rows = this.#rows;
        const begunMs = this.#parts.monotonicMs();
        const went = await this.#parts.prune({ ...step, rows });
        const tookMs = this.#parts.monotonicMs() - begunMs;
        if (went > 0) {
          dropped[step.what] = (dropped[step.what] ?? 0) + went;
          this.#parts.onPruned(step.what, went);
        }
        isMore = went >= rows;
        if (went > 0) this.#rows = nextRows(rows, tookMs);
        await this.#pause(isMore ? Math.max(PAUSE_MS, PAUSE_FACTOR * tookMs) : 0);
      }
    }
    if (Object.keys(dropped).length > 0) this.#parts.log.info({ dropped }, "dropped what is past its term");
  }

  *#steps(): Generator<Unsized> {
    const { rollouts, incidents, ...times } = this.#parts.terms;
    const nowMs = this.#nowMs();
    const before = (termMs: number) => new Date(nowMs - termMs).toISOString();
    const inUse = this.#parts.inUse();
    yield { what: "incidents", before: before(incidents), except: inUse.incidents };
    for (const [what, termMs] of Object.entries({ ...times, requests: REQUESTS_MS })) {
      yield { what: what as keyof typeof times | "requests", before: before(termMs) };
    }
    for (const { name, rolloutNumber, open } of inUse.aliases) {
      const through = rolloutNumber - rollouts;
      if (through > 0) yield { what: "rollouts", alias: name, through, except: open };
    }
  }

  /** A clock that jumps ahead while the server runs makes nothing older. */
  #nowMs(): number {
    const { now, monotonicMs } = this.#parts;
    return Math.min(now(), this.#startedMs + monotonicMs() + CLOCK_SLACK_MS);
  }
}

type Unsized = PruneStep extends infer Step ? (Step extends PruneStep ? Omit<Step, "rows"> : never) : never;

function pauseUnref(ms: number): Promise<unknown> {
  return ms === 0 ? setImmediate() : setTimeout(ms, undefined, { ref: false });
}

/** How many rows the step after one of `rows` that took so long may drop. */
export function nextRows(rows: number, tookMs: number): number {
  if (tookMs > STEP_TARGET_MS) return Math.max(1, Math.floor(rows / 2));
  return tookMs > STEP_TARGET_MS / 2 ? rows : Math.min(MAX_ROWS_PER_STEP, 2 * rows);
}
