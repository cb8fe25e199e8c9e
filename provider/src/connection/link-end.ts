/**
 * What follows the end of a socket: how long to wait before the next, and what a person should read about it.
 */
import { CLOSE } from "@flagback/schemas";
import type { Instant } from "../clock.ts";
import { HEALTHY_AFTER_MS } from "../limits.ts";
import { reconnectDelayMs, serverDelayMs, unauthorizedDelayMs } from "./backoff.ts";
import { closeReason } from "./close-reason.ts";
import { describeEnd } from "./describe-end.ts";
import { isTokenRefused, tokenRefused } from "./refusal.ts";
import type { ConnectionEffect, ConnectionState, Outage, SocketEnd } from "./state.ts";

/** The link waits for its next attempt. Calls `random` once. */
export function endLink(
  state: ConnectionState,
  end: SocketEnd,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  effects.push({ kind: "holdOutcomes", end });
  const outage = outageAfter(state, now);
  const untilMs = now.monotonicMs + delayAfter(state, end, outage, now, random(), effects);
  return {
    ...state,
    goodbye: null,
    outage: {
      ...outage,
      attempts: outage.attempts + 1,
      looksBlocked: outage.looksBlocked || looksBlocked(state, end),
      quietUntilMs: state.goodbye ? untilMs : outage.quietUntilMs,
    },
    link: { kind: "waiting", untilMs },
  };
}

/** The server and we disagree: hang up and take a whole snapshot next time. */
export function resync(
  state: ConnectionState,
  problem: string,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  effects.push({
    kind: "problem",
    level: "warn",
    key: `protocol.${problem.slice(0, 80)}`,
    message: `the stream can't be continued (${problem}); reconnecting for a whole snapshot`,
  });
  return giveUp({ ...state, mustResync: true }, { detail: problem }, CLOSE.malformed, now, random, effects);
}

/** Hangs up from our side. */
export function giveUp(
  state: ConnectionState,
  end: SocketEnd,
  code: number,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  effects.push({ kind: "hangUp", connection: state.connections, code, reason: closeReason(end.detail) });
  return endLink(state, end, now, random, effects);
}

/** A connection that came in step starts a new outage; only one that lived long forgets the attempts before it. */
function outageAfter({ link, outage }: ConnectionState, now: Instant): Outage {
  const began: Outage = { sinceMs: now.monotonicMs, attempts: 0, looksBlocked: false, quietUntilMs: now.monotonicMs };
  if (link.kind !== "streaming" || !link.synced) return outage ?? began;
  const healthy = now.monotonicMs - link.openedMs >= HEALTHY_AFTER_MS;
  return { ...began, attempts: healthy ? 0 : (outage?.attempts ?? 0) };
}

/**
 * Whether something answered that lets no stream through: a refused upgrade, or a socket that was opened and brought nothing.
 * A server that is down or overloaded (no connection, 5xx, 429) looks otherwise, and so does a token that it refuses.
 */
function looksBlocked({ link, goodbye }: ConnectionState, end: SocketEnd): boolean {
  if (goodbye !== null || isTokenRefused(end)) return false;
  if (end.httpStatus !== undefined) return end.httpStatus < 500 && end.httpStatus !== 408 && end.httpStatus !== 429;
  if (link.kind === "connecting") return end.isTimeout === true;
  return link.kind === "greeting" || (link.kind === "streaming" && !link.synced);
}

/** How long to wait, by what ended the socket; and what a person should read about it. */
function delayAfter(
  state: ConnectionState,
  end: SocketEnd,
  outage: Outage,
  now: Instant,
  random: number,
  effects: ConnectionEffect[],
): number {
  if (isTokenRefused(end)) {
    effects.push(...tokenRefused(end.httpStatus ?? 401));
    return unauthorizedDelayMs(random);
  }
  if (state.goodbye) return serverDelayMs(state.goodbye.retryAfterMs, state.goodbye.spreadMs, random);
  effects.push({ kind: "problem", level: "warn", ...describeEnd(end) });
  if (end.httpStatus === 403) return unauthorizedDelayMs(random);
  const delayMs = reconnectDelayMs(outage.attempts, now.monotonicMs - outage.sinceMs, random);
  return end.retryAfterMs === undefined ? delayMs : serverDelayMs(end.retryAfterMs, delayMs, 1);
}
