/**
 * What follows the end of a socket: how long to wait before the next, and what a person should read about it.
 */
import { CLOSE } from "@flagback/schemas";
import type { Instant } from "../clock.ts";
import { HEALTHY_AFTER_MS } from "../limits.ts";
import { reconnectDelayMs, serverDelayMs, unauthorizedDelayMs } from "./backoff.ts";
import { describeEnd } from "./describe-end.ts";
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
  const delayMs = delayAfter(state, end, outage, now, random(), effects);
  return {
    ...state,
    goodbye: null,
    outage: { ...outage, attempts: outage.attempts + 1 },
    link: { kind: "waiting", untilMs: now.monotonicMs + delayMs },
  };
}

/** A connection that came in step starts a new outage; only one that lived long forgets the attempts before it. */
function outageAfter({ link, outage }: ConnectionState, now: Instant): Outage {
  const openedMs = link.kind === "streaming" && link.synced ? link.openedMs : null;
  if (openedMs === null) return outage ?? { sinceMs: now.monotonicMs, attempts: 0 };
  const healthy = now.monotonicMs - openedMs >= HEALTHY_AFTER_MS;
  return { sinceMs: now.monotonicMs, attempts: healthy ? 0 : (outage?.attempts ?? 0) };
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
  const refused = end.httpStatus ?? (end.code === CLOSE.unauthorized ? 401 : undefined);
  if (refused === 401 || refused === 403) {
    effects.push(
      { kind: "refused", httpStatus: refused },
      {
        kind: "problem",
        level: "error",
        key: "token.refused",
        message: `the server refuses the token (${refused}); check it with 'flagback token'. Trying again every few minutes`,
      },
    );
    return unauthorizedDelayMs(random);
  }
  if (state.goodbye) return serverDelayMs(state.goodbye.retryAfterMs, state.goodbye.spreadMs, random);
  effects.push({ kind: "problem", level: "warn", ...describeEnd(end) });
  const delayMs = reconnectDelayMs(outage.attempts, now.monotonicMs - outage.sinceMs, random);
  return end.retryAfterMs === undefined ? delayMs : serverDelayMs(end.retryAfterMs, delayMs, 1);
}
