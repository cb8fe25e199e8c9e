/**
 * The connection as a state machine without I/O: what happened, the time and a random number go in, the next state and
 * what to do come out. No input ends the attempts; only `stop` does.
 */
import { CLOSE } from "@flagback/schemas";
import type { Instant } from "../clock.ts";
import { CONNECT_TIMEOUT_MS } from "../limits.ts";
import { followClock } from "./clock-set-back.ts";
import { endLink, giveUp, resync } from "./link-end.ts";
import { heartbeatMsOf, silentAtMs } from "./link-times.ts";
import { poll, takePollResult } from "./poll.ts";
import type {
  ConnectionEffect,
  ConnectionInput,
  ConnectionSettings,
  ConnectionState,
  Restored,
  SocketEnd,
  Step,
} from "./state.ts";
import { settleStatus } from "./status.ts";
import { askForLease, greet, heard, takeFrame } from "./stream.ts";

export function initialState(settings: ConnectionSettings): ConnectionState {
  return {
    settings,
    link: { kind: "idle" },
    status: "not_ready",
    staleSinceMs: 0,
    cursor: null,
    mustResync: false,
    lease: null,
    goodbye: null,
    outage: null,
    poll: { kind: "off" },
    heldAtStart: false,
    isOverdue: false,
    connections: 0,
    leaseIds: 0,
    polls: 0,
    seenMs: Number.NEGATIVE_INFINITY,
  };
}

/** Takes one input. `random` answers uniformly in [0, 1). */
export function step(state: ConnectionState, input: ConnectionInput, now: Instant, random: () => number): Step {
  const effects: ConnectionEffect[] = [];
  const moved = react(followClock(state, now), input, now, random, effects);
  const asked = askForLease(moved, now, effects);
  const polled = poll(asked, now, random, effects);
  return { state: settleStatus(polled, now, effects), effects };
}

function react(
  state: ConnectionState,
  input: ConnectionInput,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  switch (input.kind) {
    case "start":
      return state.link.kind === "idle" ? connect(started(state, input.restored), now, effects) : state;
    case "stop":
      return stop(state, effects);
    case "tick":
      return tick(state, now, random, effects);
    case "overdue":
      return { ...state, isOverdue: true };
    case "failed":
      return failed(state, input.detail, now, random, effects);
    case "polled":
      return takePollResult(state, input.nonce, input.result, now, random, effects);
    case "opened":
      return isCurrent(state, input.connection) ? greet(state, input.connection, now, effects) : state;
    case "ping":
      return isCurrent(state, input.connection) ? heard(state, now) : state;
    case "frame":
      return isCurrent(state, input.connection)
        ? takeFrame(heard(state, now), input.text, now, random, effects)
        : state;
    case "ended":
      return isCurrent(state, input.connection) ? endLink(state, input.end, now, random, effects) : state;
  }
}

/** What another process held counts only where we hold nothing ourselves. */
function started(state: ConnectionState, restored: Restored | undefined): ConnectionState {
  const fresh = { ...state, isOverdue: false };
  if (state.cursor !== null || restored === undefined) return { ...fresh, heldAtStart: state.cursor !== null };
  return { ...fresh, heldAtStart: true, cursor: restored.cursor, mustResync: !restored.canResume };
}

function connect(state: ConnectionState, now: Instant, effects: ConnectionEffect[]): ConnectionState {
  const connection = state.connections + 1;
  effects.push({ kind: "connect", connection });
  return {
    ...state,
    connections: connection,
    link: { kind: "connecting", connection, deadlineMs: now.monotonicMs + CONNECT_TIMEOUT_MS },
  };
}

function tick(
  state: ConnectionState,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  const { link } = state;
  switch (link.kind) {
    case "idle":
      return state;
    case "waiting":
      return now.monotonicMs >= link.untilMs ? connect(state, now, effects) : state;
    case "connecting":
      return now.monotonicMs < link.deadlineMs
        ? state
        : giveUp(state, timedOut("no connection in time"), CLOSE.deadPeer, now, random, effects);
    case "greeting":
      return now.monotonicMs < link.deadlineMs
        ? state
        : giveUp(state, timedOut("no hello in time"), CLOSE.deadPeer, now, random, effects);
    case "streaming": {
      if (!link.synced && now.monotonicMs >= link.syncDeadlineMs) {
        return resync(state, `the server did not send revision ${link.hello.revision} in time`, now, random, effects);
      }
      if (link.behind && now.monotonicMs >= link.behind.deadlineMs) {
        return resync(state, `the server did not send revision ${link.behind.revision} in time`, now, random, effects);
      }
      const lateMs = now.monotonicMs - silentAtMs(link);
      if (lateMs < 0) return state;
      // A tick this late means that our own event loop stood still, and the pings may wait unread behind it.
      if (lateMs > heartbeatMsOf(link)) {
        return { ...state, link: { ...link, lastHeardMs: now.monotonicMs - heartbeatMsOf(link) } };
      }
      return giveUp(state, timedOut("two heartbeats missed"), CLOSE.deadPeer, now, random, effects);
    }
  }
}

function timedOut(detail: string): SocketEnd {
  return { detail, isTimeout: true };
}

/** What we hold is not what the state says: it permits nothing, and is taken anew as a whole. */
function failed(
  state: ConnectionState,
  detail: string,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  const doubtful = { ...state, mustResync: true, lease: null };
  return hasSocket(state) ? resync(doubtful, detail, now, random, effects) : doubtful;
}

function stop(state: ConnectionState, effects: ConnectionEffect[]): ConnectionState {
  const { link } = state;
  if (link.kind === "streaming") effects.push({ kind: "send", message: { type: "goodbye" } });
  if (link.kind !== "idle" && link.kind !== "waiting") {
    effects.push({ kind: "hangUp", connection: link.connection, code: 1000, reason: "closing" });
  }
  // What we hold stays, so that evaluations after the close keep answering and a later start can resume.
  return { ...state, link: { kind: "idle" }, status: "not_ready", goodbye: null, outage: null };
}

function hasSocket({ link }: ConnectionState): boolean {
  return link.kind !== "idle" && link.kind !== "waiting";
}

function isCurrent({ link }: ConnectionState, connection: number): boolean {
  return link.kind !== "idle" && link.kind !== "waiting" && link.connection === connection;
}
