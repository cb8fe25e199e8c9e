/**
 * The provider's status, decided at the end of every step.
 */
import type { Instant } from "../clock.ts";
import { isLeaseLive } from "./lease.ts";
import type { ConnectionEffect, ConnectionState, Status } from "./state.ts";

/**
 * READY while the stream or the poll path keeps us in step and the lease is live; STALE at once when not; ERROR after the
 * grace. Before the first READY a provider that holds documents is STALE once the first attempt has failed, or takes too long.
 */
export function settleStatus(state: ConnectionState, now: Instant, effects: ConnectionEffect[]): ConnectionState {
  const { link, status } = state;
  if (link.kind === "idle") return state;
  const leaseLive = isLeaseLive(state.lease, now.monotonicMs, now.wallMs);
  const next = nextStatus(state, (isStreamInStep(state) || isPollInStep(state)) && leaseLive, now);
  if (next === status) return state;
  effects.push({ kind: "status", status: next, detail: describeStatus(state, next, leaseLive) });
  return { ...state, status: next, staleSinceMs: next === "stale" ? now.monotonicMs : state.staleSinceMs };
}

function nextStatus(state: ConnectionState, good: boolean, now: Instant): Status {
  if (good) return "ready";
  switch (state.status) {
    case "ready":
      return "stale";
    case "stale":
      return now.monotonicMs - state.staleSinceMs >= state.settings.errorGraceMs ? "error" : "stale";
    case "not_ready":
      return state.heldAtStart && (state.outage !== null || state.isOverdue) ? "stale" : "not_ready";
    case "error":
      return "error";
  }
}

/** We stream and hold at least the revision that the server named at the beginning. */
export function isStreamInStep({ link }: ConnectionState): boolean {
  return link.kind === "streaming" && link.synced;
}

function isPollInStep({ poll }: ConnectionState): boolean {
  return poll.kind !== "off" && poll.isInStep;
}

function describeStatus(state: ConnectionState, status: Status, leaseLive: boolean): string {
  if (status === "ready") {
    const way = isStreamInStep(state) ? "" : ", by polling";
    return `in step with the server at revision ${state.cursor?.revision}${way}`;
  }
  const cause =
    (isStreamInStep(state) || isPollInStep(state)) && !leaseLive ? "the lease lapsed" : "not connected to the server";
  return status === "error" ? `${cause} for ${state.settings.errorGraceMs} ms` : cause;
}
