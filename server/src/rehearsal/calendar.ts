/**
 * Work by calendar: one run at a time, until somebody ends it. What fails once is tried again at the next date.
 */
import { setTimeout as delay } from "node:timers/promises";
import { FlagbackError } from "@flagback/schemas";
import { nextDue, parseCron } from "./cron.ts";

/** The clock may be set while we wait, and timers hold no time longer than 24 days. */
const LOOK_AGAIN_MS = 60_000;

export interface Calendar {
  /** A cron expression of five fields, in UTC. */
  readonly pattern: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
  /** Answers the exit status of one run. */
  readonly work: () => Promise<number>;
  /** For tests: the clock, and how time passes. */
  readonly now?: () => number;
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

/** Runs until aborted, and answers the last run's status; 0 where there was none. @throws FlagbackError `usage` */
export async function followCalendar(calendar: Calendar): Promise<number> {
  const { signal, say, work, now = Date.now, pause = pauseUntil } = calendar;
  const pattern = parseCron(calendar.pattern);
  if ("problem" in pattern) throw unreadable(calendar.pattern, pattern.problem);
  let status = 0;
  while (!signal.aborted) {
    const dueMs = nextDue(pattern, now());
    if (dueMs === undefined) throw unreadable(calendar.pattern, "no date is like that");
    say(`next drill at ${new Date(dueMs).toISOString()}`);
    while (!signal.aborted && now() < dueMs) await pause(Math.min(LOOK_AGAIN_MS, dueMs - now()), signal);
    if (!signal.aborted) status = await work();
  }
  return status;
}

function pauseUntil(ms: number, signal: AbortSignal): Promise<unknown> {
  return delay(ms, undefined, { signal }).catch(() => undefined);
}

function unreadable(pattern: string, problem: string): FlagbackError {
  return new FlagbackError({
    code: "usage",
    message: `--schedule "${pattern}" can't be followed: ${problem}.`,
    hint: 'Write minute, hour, day of the month, month and day of the week, such as "0 9 1 * *".',
  });
}
