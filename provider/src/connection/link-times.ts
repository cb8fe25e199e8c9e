/**
 * When the connection has something to do, on the monotonic clock.
 */
import {
  HEARTBEAT_SLACK,
  MAX_HEARTBEAT_MS,
  MAX_LEASE_MS,
  MIN_HEARTBEAT_MS,
  MIN_LEASE_MS,
  POLL_AFTER_MS,
} from "../limits.ts";
import type { ConnectionState, Outage, StreamingLink } from "./state.ts";

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
      if (link.behind) due.push(link.behind.deadlineMs);
      break;
  }
  const pollMs = nextPollMs(state);
  if (pollMs !== null) due.push(pollMs);
  if (state.status === "ready" && lease) due.push(lease.asked.monotonicMs + lease.leaseMs);
  if (state.status === "stale" && link.kind !== "idle") due.push(state.staleSinceMs + state.settings.errorGraceMs);
  return due.length === 0 ? null : Math.min(...due);
}

/** When the poll path has something to do; null while the stream is in step. */
function nextPollMs({ link, poll, outage }: ConnectionState): number | null {
  if (link.kind === "idle" || (link.kind === "streaming" && link.synced)) return null;
  switch (poll.kind) {
    case "waiting":
      return poll.untilMs;
    case "asking":
      return poll.deadlineMs;
    case "off":
      return outage && pollFromMs(outage);
  }
}

/** When an outage of the stream starts the poll path. */
export function pollFromMs({ sinceMs, looksBlocked, quietUntilMs }: Outage): number {
  return Math.max(quietUntilMs, looksBlocked ? sinceMs : sinceMs + POLL_AFTER_MS);
}

/** When a silent socket is given up. */
export function silentAtMs(link: StreamingLink): number {
  return link.lastHeardMs + heartbeatMsOf(link) * (2 + HEARTBEAT_SLACK);
}

export function heartbeatMsOf(link: StreamingLink): number {
  return Math.min(MAX_HEARTBEAT_MS, Math.max(MIN_HEARTBEAT_MS, link.hello.heartbeatMs));
}

/** The length of a lease that the server named, within our own limits. */
export function leaseMsOf(namedMs: number): number {
  return Math.min(MAX_LEASE_MS, Math.max(MIN_LEASE_MS, namedMs));
}
