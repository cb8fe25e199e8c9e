/**
 * When to try again. Time and randomness are arguments.
 */
import {
  MAX_POLL_INTERVAL_MS,
  MAX_SERVER_DELAY_MS,
  MIN_POLL_INTERVAL_MS,
  POLL_JITTER,
  POLL_RETRY_CEILING_MS,
  POLL_RETRY_FIRST_MS,
  POLL_START_MAX_MS,
  POLL_START_MIN_MS,
  RECONNECT_CEILING_MS,
  RECONNECT_EAGER_CEILING_MS,
  RECONNECT_EAGER_MS,
  RECONNECT_FIRST_MS,
  UNAUTHORIZED_RETRY_MAX_MS,
  UNAUTHORIZED_RETRY_MIN_MS,
} from "../limits.ts";

/**
 * Delay before the next attempt: full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
 * @param attempt attempts of this outage so far, from 0
 * @param outageMs how long the outage has lasted
 * @param random uniform in [0, 1)
 */
export function reconnectDelayMs(attempt: number, outageMs: number, random: number): number {
  const ceiling = outageMs < RECONNECT_EAGER_MS ? RECONNECT_EAGER_CEILING_MS : RECONNECT_CEILING_MS;
  // 2^10 is past every ceiling; a larger exponent would only overflow.
  return random * Math.min(ceiling, RECONNECT_FIRST_MS * 2 ** Math.min(attempt, 10));
}

/** Delay after a refused token: minutes, so that nobody is hammered, but never for ever. */
export function unauthorizedDelayMs(random: number): number {
  return UNAUTHORIZED_RETRY_MIN_MS + random * (UNAUTHORIZED_RETRY_MAX_MS - UNAUTHORIZED_RETRY_MIN_MS);
}

/** Delay that the server asked for, spread over `spreadMs` and held within our own limit. */
export function serverDelayMs(retryAfterMs: number, spreadMs: number, random: number): number {
  return Math.min(MAX_SERVER_DELAY_MS, retryAfterMs) + random * Math.min(MAX_SERVER_DELAY_MS, spreadMs);
}

/** Delay before the first poll of an outage. */
export function firstPollDelayMs(random: number): number {
  return POLL_START_MIN_MS + random * (POLL_START_MAX_MS - POLL_START_MIN_MS);
}

/** From a poll's ask to the next one's: the lease is renewed as on the stream, and a change is never long in coming. */
export function pollIntervalMs(leaseMs: number, random: number): number {
  const intervalMs = Math.min(MAX_POLL_INTERVAL_MS, Math.max(MIN_POLL_INTERVAL_MS, leaseMs / 3));
  return intervalMs * (1 - random * POLL_JITTER);
}

/** Delay after so many failed polls in a row, at least 1. Never near zero: unlike a connect, a failed poll costs a whole request. */
export function pollRetryDelayMs(misses: number, random: number): number {
  const ceiling = Math.min(POLL_RETRY_CEILING_MS, POLL_RETRY_FIRST_MS * 2 ** Math.min(misses - 1, 10));
  return (ceiling * (1 + random)) / 2;
}
