/**
 * When the connection has something to do, on the monotonic clock.
 */
import { HEARTBEAT_SLACK, MAX_LEASE_MS, MIN_HEARTBEAT_MS, MIN_LEASE_MS } from "../limits.ts";
import type { ConnectionState, StreamingLink } from "./state.ts";

/** When the next `tick` is due on the monotonic clock; null when nothing is. */
export function nextTickMs(state: ConnectionState): number | null {
  const due: number[] = [];
  const { link, lease } = state;
  switch (link.kind) {
    case "idle":
      break;
    case "waiting":
      due.push(link.untilMs);
      break;
    case "connecting":
    case "greeting":
      due.push(link.deadlineMs);
      break;
    case "streaming":
      due.push(silentAtMs(link), link.nextAskMs);
      if (!link.synced) due.push(link.syncDeadlineMs);
      break;
  }
  if (state.status === "ready" && lease) due.push(lease.asked.monotonicMs + lease.leaseMs);
  if (state.status === "stale" && link.kind !== "idle") due.push(state.staleSinceMs + state.settings.errorGraceMs);
  return due.length === 0 ? null : Math.min(...due);
}

/** When a silent socket is given up. */
export function silentAtMs(link: StreamingLink): number {
  return link.lastHeardMs + heartbeatMsOf(link) * (2 + HEARTBEAT_SLACK);
}

export function heartbeatMsOf(link: StreamingLink): number {
  return Math.max(MIN_HEARTBEAT_MS, link.hello.heartbeatMs);
}

export function leaseMsOf(link: StreamingLink): number {
  return Math.min(MAX_LEASE_MS, Math.max(MIN_LEASE_MS, link.hello.leaseMs));
}
