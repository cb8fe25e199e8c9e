/**
 * How long what is over is kept, and its end: dropped in small steps between the server's other work, and never before its
 * term.
 */
import { setTimeout as pause } from "node:timers/promises";
import { Duration, durationMs, FlagbackError } from "@flagback/schemas";
import type { Logger } from "pino";
import type { Prunable, PruneStep } from "./store.ts";

/** Rows that go in one transaction: a few milliseconds, which is what a change waits at most. */
const ROWS_PER_STEP = 100;
/** Between two steps. */
const PAUSE_MS = 20;
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

export class Retention {
  readonly #prune: (step: PruneStep) => Promise<number>;
  readonly #terms: Terms;
  readonly #nowMs: () => number;
  readonly #onPruned: (what: Prunable, rows: number) => void;
  readonly #log: Pick<Logger, "info">;
  readonly #ending = new AbortController();
  #running: Promise<void> | undefined;

  constructor(parts: {
    readonly prune: (step: PruneStep) => Promise<number>;
    readonly terms: Terms;
    readonly now: () => number;
    readonly monotonicMs: () => number;
    readonly onPruned: (what: Prunable, rows: number) => void;
    readonly log: Pick<Logger, "info">;
  }) {
    this.#prune = parts.prune;
    this.#terms = parts.terms;
    this.#onPruned = parts.onPruned;
    this.#log = parts.log;
    const { now, monotonicMs } = parts;
    const startedMs = now() - monotonicMs();
    this.#nowMs = () => Math.min(now(), startedMs + monotonicMs() + CLOCK_SLACK_MS);
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
      for (;;) {
        if (this.#ending.signal.aborted) return;
        const rows = await this.#prune(step);
        if (rows > 0) {
          dropped[step.what] = (dropped[step.what] ?? 0) + rows;
          this.#onPruned(step.what, rows);
        }
        if (rows < ROWS_PER_STEP) break;
        await pause(PAUSE_MS, undefined, { ref: false });
      }
    }
    if (Object.keys(dropped).length > 0) this.#log.info({ dropped }, "dropped what is past its term");
  }

  #steps(): PruneStep[] {
    const { rollouts, ...times } = this.#terms;
    const nowMs = this.#nowMs();
    const timed = Object.entries({ ...times, requests: REQUESTS_MS }).map(([what, termMs]) => ({
      what: what as Exclude<Prunable, "rollouts">,
      before: new Date(nowMs - termMs).toISOString(),
      rows: ROWS_PER_STEP,
    }));
    return [...timed, { what: "rollouts", newest: rollouts, rows: ROWS_PER_STEP }];
  }
}
