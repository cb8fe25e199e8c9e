/**
 * The provider's status, decided at the end of every step.
 */
import type { Instant } from "../clock.ts";
import { isLeaseLive } from "./lease.ts";
import type { ConnectionEffect, ConnectionState, Status } from "./state.ts";

/** READY while we stream, are in sync and hold a live lease; STALE at once when not; ERROR after the grace. */
export function settleStatus(state: ConnectionState, now: Instant, effects: ConnectionEffect[]): ConnectionState {
  const { link, status } = state;
  if (link.kind === "idle") return state;
  const leaseLive = isLeaseLive(state.lease, now.monotonicMs, now.wallMs);
  const next = nextStatus(state, link.kind === "streaming" && link.synced && leaseLive, now);
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
    case "error":
      return state.status;
  }
}

function describeStatus(state: ConnectionState, status: Status, leaseLive: boolean): string {
  if (status === "ready") return `in step with the server at revision ${state.cursor?.revision}`;
  const cause = state.link.kind === "streaming" && !leaseLive ? "the lease lapsed" : "not connected to the server";
  return status === "error" ? `${cause} for ${state.settings.errorGraceMs} ms` : cause;
}
