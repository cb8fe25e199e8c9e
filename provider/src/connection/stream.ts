/**
 * The stream from its first frame on: hello, snapshots and deltas, leases.
 */
import { type Decoded, decodeServerFrame, type ServerMessage } from "@flagback/schemas";
import type { Instant } from "../clock.ts";
import { SYNC_TIMEOUT_MS } from "../limits.ts";
import { describeThrown } from "../thrown.ts";
import { longerLease } from "./lease.ts";
import { resync } from "./link-end.ts";
import { leaseMsOf } from "./link-times.ts";
import type { ConnectionEffect, ConnectionState, StreamingLink } from "./state.ts";

/** The socket is open: say who we are and what we hold. */
export function greet(
  state: ConnectionState,
  connection: number,
  now: Instant,
  effects: ConnectionEffect[],
): ConnectionState {
  const { instance, sdk } = state.settings;
  const resume = state.cursor && !state.mustResync ? { resume: state.cursor } : {};
  effects.push({ kind: "send", message: { type: "hello", instance, sdk, ...resume } });
  const deadlineMs = now.monotonicMs + SYNC_TIMEOUT_MS;
  return { ...state, link: { kind: "greeting", connection, deadlineMs, openedMs: now.monotonicMs } };
}

/** Anything that comes from the server shows that it lives. */
export function heard(state: ConnectionState, now: Instant): ConnectionState {
  return state.link.kind === "streaming" ? { ...state, link: { ...state.link, lastHeardMs: now.monotonicMs } } : state;
}

export function takeFrame(
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
      const { epoch, revision, mark } = message;
      const least = link.synced ? (state.cursor?.revision ?? 0) : link.hello.revision;
      if (epoch !== link.hello.epoch || revision < least) {
        return resync(state, `snapshot: it is of revision ${revision}, due is ${least}`, now, random, effects);
      }
      effects.push({ kind: "swap", change: message });
      return applied({ ...state, cursor: { epoch, revision, mark }, mustResync: false }, link, now, effects);
    }
    case "delta": {
      const { cursor, mustResync } = state;
      if (!cursor || mustResync || cursor.revision !== message.from || cursor.epoch !== link.hello.epoch) {
        const held = cursor && !mustResync ? `revision ${cursor.revision}` : "nothing";
        return resync(state, `delta: it starts from ${message.from}, we hold ${held}`, now, random, effects);
      }
      if (message.revision <= message.from) {
        return resync(state, `delta: it leads from ${message.from} to ${message.revision}`, now, random, effects);
      }
      effects.push({ kind: "swap", change: message });
      const next = { epoch: cursor.epoch, revision: message.revision, mark: message.mark };
      return applied({ ...state, cursor: next }, link, now, effects);
    }
    case "lease":
      return leaseAnswered(state, link, message.id, message.revision, now);
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
      behind: null,
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
  const caughtUp = link.behind !== null && revision >= link.behind.revision;
  return {
    ...state,
    link: {
      ...link,
      synced:
        link.synced ||
        (!state.mustResync && state.cursor?.epoch === link.hello.epoch && revision >= link.hello.revision),
      nextAskMs: caughtUp ? now.monotonicMs : link.nextAskMs,
      behind: caughtUp ? null : link.behind,
    },
  };
}

/** An answer counts if its id is outstanding on this connection and we hold at least its revision. */
function leaseAnswered(
  state: ConnectionState,
  link: StreamingLink,
  id: number,
  revision: number,
  now: Instant,
): ConnectionState {
  const askedAt = link.asked.get(id);
  if (!askedAt) return state;
  const asked = new Map(link.asked);
  asked.delete(id);
  const { cursor } = state;
  if (!cursor || state.mustResync || cursor.epoch !== link.hello.epoch || cursor.revision < revision) {
    const { revision: named = 0, deadlineMs = now.monotonicMs + SYNC_TIMEOUT_MS } = link.behind ?? {};
    return { ...state, link: { ...link, asked, behind: { revision: Math.max(revision, named), deadlineMs } } };
  }
  const lease = longerLease(state.lease, { asked: askedAt, leaseMs: leaseMsOf(link.hello.leaseMs) }, now);
  return { ...state, lease, link: { ...link, asked } };
}

/** Asks for a lease where it is due: at once after hello, then every third of a lease. */
export function askForLease(state: ConnectionState, now: Instant, effects: ConnectionEffect[]): ConnectionState {
  const { link } = state;
  if (link.kind !== "streaming" || now.monotonicMs < link.nextAskMs) return state;
  const id = state.leaseIds + 1;
  const leaseMs = leaseMsOf(link.hello.leaseMs);
  const asked = new Map([...link.asked].filter(([, at]) => now.monotonicMs - at.monotonicMs < leaseMs));
  asked.set(id, now);
  effects.push({ kind: "send", message: { type: "lease", id } });
  return { ...state, leaseIds: id, link: { ...link, asked, nextAskMs: now.monotonicMs + leaseMs / 3 } };
}
