/**
 * When to try again. Time and randomness are arguments.
 */
import {
  MAX_SERVER_DELAY_MS,
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
