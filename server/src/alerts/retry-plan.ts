/**
 * When an alert that was not taken is tried again, and when no more. Time and randomness are arguments.
 */
import { MAX_ALERT_RETRY_MS } from "../store/outbox.ts";

const FIRST_RETRY_MS = 1_000;
/** Doublings until the longest pause; a larger exponent would only overflow. */
const MAX_DOUBLINGS = 16;
/** An alert is tried so often at least, also where a clock jumps past its term. */
const LEAST_ATTEMPTS = 10;

export interface Failed {
  /** Attempts so far, with the one that failed now. */
  readonly attempts: number;
  /** Until when it is worth trying, in milliseconds since 1970. */
  readonly retryUntilMs: number;
}

/**
 * The moment of the next attempt; null to give up. Half of each pause is random, so that what failed together comes apart.
 * @param random uniform in [0, 1)
 */
export function nextAttemptMs({ attempts, retryUntilMs }: Failed, nowMs: number, random: number): number | null {
  if (attempts >= LEAST_ATTEMPTS && nowMs >= retryUntilMs) return null;
  const pauseMs = Math.min(MAX_ALERT_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempts - 1, MAX_DOUBLINGS));
  return nowMs + Math.round((pauseMs * (1 + random)) / 2);
}
