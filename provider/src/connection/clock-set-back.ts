/**
 * A monotonic clock that goes back all the same, as on a virtual machine that was moved or with a clock that is broken: every
 * moment that we wait for would come later by as much, and a wait of a second could become one of hours.
 */
import type { Instant } from "../clock.ts";
import type { ConnectionState, Link, Poll } from "./state.ts";

/** The state with its moments moved along with the clock, as if no time had passed since the last step. */
export function followClock(state: ConnectionState, { monotonicMs }: Instant): ConnectionState {
  const backMs = state.seenMs - monotonicMs;
  const seen = { ...state, seenMs: monotonicMs };
  // Not a number where a clock is broken beyond that.
  if (!(backMs > 0)) return seen;
  const { lease, outage } = state;
  return {
    ...seen,
    link: movedLink(state.link, backMs),
    poll: movedPoll(state.poll, backMs),
    staleSinceMs: state.staleSinceMs - backMs,
    lease: lease && { ...lease, asked: moved(lease.asked, backMs) },
    outage: outage && {
      ...outage,
      sinceMs: outage.sinceMs - backMs,
      quietUntilMs: outage.quietUntilMs - backMs,
    },
  };
}

function movedLink(link: Link, backMs: number): Link {
  switch (link.kind) {
    case "idle":
      return link;
    case "waiting":
      return { ...link, untilMs: link.untilMs - backMs };
    case "connecting":
      return { ...link, deadlineMs: link.deadlineMs - backMs };
    case "greeting":
      return { ...link, deadlineMs: link.deadlineMs - backMs, openedMs: link.openedMs - backMs };
    case "streaming":
      return {
        ...link,
        openedMs: link.openedMs - backMs,
        lastHeardMs: link.lastHeardMs - backMs,
        syncDeadlineMs: link.syncDeadlineMs - backMs,
        nextAskMs: link.nextAskMs - backMs,
        behind: link.behind && { ...link.behind, deadlineMs: link.behind.deadlineMs - backMs },
        asked: new Map([...link.asked].map(([id, asked]) => [id, moved(asked, backMs)])),
      };
  }
}

function movedPoll(poll: Poll, backMs: number): Poll {
  switch (poll.kind) {
    case "off":
      return poll;
    case "waiting":
      return { ...poll, untilMs: poll.untilMs - backMs };
    case "asking":
      return { ...poll, deadlineMs: poll.deadlineMs - backMs, asked: moved(poll.asked, backMs) };
  }
}

function moved(instant: Instant, backMs: number): Instant {
  return { ...instant, monotonicMs: instant.monotonicMs - backMs };
}
