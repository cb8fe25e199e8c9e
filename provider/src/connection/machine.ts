/**
 * The connection as a state machine without I/O: what happened, the time and a random number go in, the next state and
 * what to do come out. No input ends the attempts; only `stop` does.
 */
import { CLOSE, type Decoded, decodeServerFrame, type ServerMessage } from "@flagback/schemas";
import type { Instant } from "../clock.ts";
import { CONNECT_TIMEOUT_MS, SYNC_TIMEOUT_MS } from "../limits.ts";
import { describeThrown } from "../thrown.ts";
import { closeReason } from "./close-reason.ts";
import { laterLease } from "./lease.ts";
import { endLink } from "./link-end.ts";
import { heartbeatMsOf, leaseMsOf, silentAtMs } from "./link-times.ts";
import type {
  ConnectionEffect,
  ConnectionInput,
  ConnectionSettings,
  ConnectionState,
  Step,
  StreamingLink,
} from "./state.ts";
import { settleStatus } from "./status.ts";

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
    connections: 0,
    leaseIds: 0,
  };
}

/** Takes one input. `random` is called at most once and answers uniformly in [0, 1). */
export function step(state: ConnectionState, input: ConnectionInput, now: Instant, random: () => number): Step {
  const effects: ConnectionEffect[] = [];
  const moved = react(state, input, now, random, effects);
  const asked = askForLease(moved, now, effects);
  return { state: settleStatus(asked, now, effects), effects };
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
      return state.link.kind === "idle" ? connect(state, now, effects) : state;
    case "stop":
      return stop(state, effects);
    case "tick":
      return tick(state, now, random, effects);
    case "failed":
      return hasSocket(state) ? resync(state, input.detail, now, random, effects) : state;
    case "opened":
      return isCurrent(state, input.connection) ? greet(state, input.connection, now, effects) : state;
    case "ping":
      return isCurrent(state, input.connection) ? heard(state, now) : state;
    case "frame":
      return isCurrent(state, input.connection) ? frame(heard(state, now), input.text, now, random, effects) : state;
    case "ended":
      return isCurrent(state, input.connection) ? endLink(state, input.end, now, random, effects) : state;
  }
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

function greet(state: ConnectionState, connection: number, now: Instant, effects: ConnectionEffect[]): ConnectionState {
  const { instance, sdk } = state.settings;
  const resume = state.cursor && !state.mustResync ? { resume: state.cursor } : {};
  effects.push({ kind: "send", message: { type: "hello", instance, sdk, ...resume } });
  const deadlineMs = now.monotonicMs + SYNC_TIMEOUT_MS;
  return { ...state, link: { kind: "greeting", connection, deadlineMs, openedMs: now.monotonicMs } };
}

function heard(state: ConnectionState, now: Instant): ConnectionState {
  return state.link.kind === "streaming" ? { ...state, link: { ...state.link, lastHeardMs: now.monotonicMs } } : state;
}

function frame(
  state: ConnectionState,
  text: string,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  const decoded = decode(text);
  switch (decoded.kind) {
    case "unknown_type":
      effects.push(unknownType(decoded.type));
      return state;
    case "malformed":
      return resync(state, decoded.problem, now, random, effects);
    case "message":
      return receive(state, decoded.message, now, random, effects);
  }
}

/** Version 1 grows by frames that older ends pass over (docs/protocol.md). */
function unknownType(type: string): ConnectionEffect {
  const shown = JSON.stringify(type.slice(0, 80));
  const message = `the server sends frames of type ${shown}, which this provider passes over; is there a newer provider?`;
  return { kind: "problem", level: "warn", key: `unknownType.${shown}`, message };
}

/** A frame can be nested deeper than the stack that would check it. */
function decode(text: string): Decoded<ServerMessage> {
  try {
    return decodeServerFrame(text);
  } catch (error) {
    return { kind: "malformed", problem: `the frame can't be decoded: ${describeThrown(error)}` };
  }
}

function receive(
  state: ConnectionState,
  message: ServerMessage,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  const { link } = state;
  if (message.type === "error") {
    effects.push({
      kind: "problem",
      level: "warn",
      key: `server.${message.code}`,
      message: `the server says ${message.code}: ${message.message}`,
    });
    return state;
  }
  if (message.type === "goodbye") {
    const { retryAfterMs, spreadMs } = message;
    return { ...state, goodbye: { retryAfterMs, spreadMs } };
  }
  if (message.type === "hello") {
    return link.kind === "greeting"
      ? welcome(state, message, link.openedMs, now, effects)
      : resync(state, "hello: it came twice", now, random, effects);
  }
  if (link.kind !== "streaming") return resync(state, `${message.type}: it came before hello`, now, random, effects);
  switch (message.type) {
    case "snapshot": {
      effects.push({ kind: "swap", change: message });
      const { epoch, revision, mark } = message;
      return applied({ ...state, cursor: { epoch, revision, mark }, mustResync: false }, link, now, effects);
    }
    case "delta": {
      const { cursor } = state;
      if (!cursor || cursor.revision !== message.from || cursor.epoch !== link.hello.epoch) {
        const held = cursor ? `revision ${cursor.revision}` : "nothing";
        return resync(state, `delta: it starts from ${message.from}, we hold ${held}`, now, random, effects);
      }
      effects.push({ kind: "swap", change: message });
      const next = { epoch: cursor.epoch, revision: message.revision, mark: message.mark };
      return applied({ ...state, cursor: next }, link, now, effects);
    }
    case "lease":
      return leaseAnswered(state, link, message.id, message.revision);
    case "outcomesAck":
      effects.push({ kind: "ackOutcomes", ack: message });
      return state;
  }
}

function welcome(
  state: ConnectionState,
  hello: Extract<ServerMessage, { type: "hello" }>,
  openedMs: number,
  now: Instant,
  effects: ConnectionEffect[],
): ConnectionState {
  const { cursor, link } = state;
  if (link.kind !== "greeting") return state;
  effects.push({ kind: "resumeOutcomes", through: hello.outcomesThrough, limits: hello.limits });
  const sameHistory = cursor?.epoch === hello.epoch && cursor.revision <= hello.revision;
  const synced = sameHistory && cursor.revision === hello.revision && cursor.mark === hello.mark && !state.mustResync;
  return {
    ...state,
    // A lease of another history permits nothing in this one.
    lease: sameHistory ? state.lease : null,
    link: {
      kind: "streaming",
      connection: link.connection,
      openedMs,
      hello,
      lastHeardMs: now.monotonicMs,
      synced,
      syncDeadlineMs: now.monotonicMs + SYNC_TIMEOUT_MS,
      nextAskMs: now.monotonicMs,
      asked: new Map(),
      askAgainAt: null,
    },
  };
}

/** After a swap: acknowledge it, and ask again for the lease whose answer was ahead of us. */
function applied(
  state: ConnectionState,
  link: StreamingLink,
  now: Instant,
  effects: ConnectionEffect[],
): ConnectionState {
  const revision = state.cursor?.revision ?? 0;
  effects.push({ kind: "acknowledge", revision, receivedMs: now.monotonicMs });
  const caughtUp = link.askAgainAt !== null && revision >= link.askAgainAt;
  return {
    ...state,
    link: {
      ...link,
      synced: link.synced || (state.cursor?.epoch === link.hello.epoch && revision >= link.hello.revision),
      nextAskMs: caughtUp ? now.monotonicMs : link.nextAskMs,
      askAgainAt: caughtUp ? null : link.askAgainAt,
    },
  };
}

/** An answer counts if its id is outstanding on this connection and we hold at least its revision. */
function leaseAnswered(state: ConnectionState, link: StreamingLink, id: number, revision: number): ConnectionState {
  const askedAt = link.asked.get(id);
  if (!askedAt) return state;
  const asked = new Map(link.asked);
  asked.delete(id);
  const { cursor } = state;
  if (!cursor || cursor.epoch !== link.hello.epoch || cursor.revision < revision) {
    return { ...state, link: { ...link, asked, askAgainAt: Math.max(revision, link.askAgainAt ?? 0) } };
  }
  const lease = laterLease(state.lease, { asked: askedAt, leaseMs: leaseMsOf(link) });
  return { ...state, lease, link: { ...link, asked } };
}

/** Asks for a lease where it is due: at once after hello, then every third of a lease. */
function askForLease(state: ConnectionState, now: Instant, effects: ConnectionEffect[]): ConnectionState {
  const { link } = state;
  if (link.kind !== "streaming" || now.monotonicMs < link.nextAskMs) return state;
  const id = state.leaseIds + 1;
  const leaseMs = leaseMsOf(link);
  const asked = new Map([...link.asked].filter(([, at]) => now.monotonicMs - at.monotonicMs < leaseMs));
  asked.set(id, now);
  effects.push({ kind: "send", message: { type: "lease", id } });
  return { ...state, leaseIds: id, link: { ...link, asked, nextAskMs: now.monotonicMs + leaseMs / 3 } };
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
        : giveUp(state, "no connection in time", CLOSE.deadPeer, now, random, effects);
    case "greeting":
      return now.monotonicMs < link.deadlineMs
        ? state
        : giveUp(state, "no hello in time", CLOSE.deadPeer, now, random, effects);
    case "streaming": {
      if (!link.synced && now.monotonicMs >= link.syncDeadlineMs) {
        return resync(state, `the server did not send revision ${link.hello.revision} in time`, now, random, effects);
      }
      const lateMs = now.monotonicMs - silentAtMs(link);
      if (lateMs < 0) return state;
      // A tick this late means that our own event loop stood still, and the pings may wait unread behind it.
      if (lateMs > heartbeatMsOf(link)) {
        return { ...state, link: { ...link, lastHeardMs: now.monotonicMs - heartbeatMsOf(link) } };
      }
      return giveUp(state, "two heartbeats missed", CLOSE.deadPeer, now, random, effects);
    }
  }
}

/** The server and we disagree: hang up and take a whole snapshot next time. */
function resync(
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
  return giveUp({ ...state, mustResync: true }, problem, CLOSE.malformed, now, random, effects);
}

function giveUp(
  state: ConnectionState,
  detail: string,
  code: number,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  effects.push({ kind: "hangUp", connection: state.connections, code, reason: closeReason(detail) });
  return endLink(state, { detail }, now, random, effects);
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
