/**
 * The poll path: while the stream is missing, snapshots and leases come by one HTTP request at a time. It never ends the
 * attempts at the stream, and the stream ends it.
 */
import type { Instant } from "../clock.ts";
import { POLL_MISSES, POLL_TIMEOUT_MS } from "../limits.ts";
import { firstPollDelayMs, pollIntervalMs, pollRetryDelayMs, serverDelayMs, unauthorizedDelayMs } from "./backoff.ts";
import { longerLease } from "./lease.ts";
import { giveUp } from "./link-end.ts";
import { leaseMsOf, pollFromMs } from "./link-times.ts";
import { decodePoll, type PollAnswer, type PollHead } from "./poll-answer.ts";
import { tokenRefused } from "./refusal.ts";
import type { AskingPoll, ConnectionEffect, ConnectionState, PollResult, ServerHello, WaitingPoll } from "./state.ts";

/** Begins, asks, gives up or ends, as the stream and the time have it. Called at the end of every step. */
export function poll(
  state: ConnectionState,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  const { link, poll, outage } = state;
  if (link.kind === "idle" || (link.kind === "streaming" && link.synced)) return end(state, effects);
  switch (poll.kind) {
    case "off": {
      if (outage === null || now.monotonicMs < pollFromMs(outage)) return state;
      const untilMs = now.monotonicMs + firstPollDelayMs(random());
      return { ...state, poll: { kind: "waiting", untilMs, isInStep: false, misses: 0 } };
    }
    case "waiting":
      return now.monotonicMs < poll.untilMs ? state : ask(state, poll, now, effects);
    case "asking": {
      const isOutdated = poll.cursor !== state.cursor || poll.hello !== helloOf(state);
      if (!isOutdated && now.monotonicMs < poll.deadlineMs) return state;
      effects.push({ kind: "abandonPoll" });
      // The stream has moved us since we asked: the answer could only take us back.
      if (isOutdated) return ask(state, poll, now, effects);
      return missed(state, poll, { kind: "unusable", detail: "no answer in time" }, now, random, effects);
    }
  }
}

/** The answer to the request that is under way; any other is of no interest any more. */
export function takePollResult(
  state: ConnectionState,
  nonce: string,
  result: PollResult,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  const { poll } = state;
  if (poll.kind !== "asking" || poll.nonce !== nonce) return state;
  const answer = decodePoll(result, nonce);
  switch (answer.kind) {
    case "unchanged":
      return unchanged(state, poll, answer.head, now, random, effects);
    case "snapshot": {
      effects.push({ kind: "swap", change: answer.snapshot });
      const sameHistory = state.cursor?.epoch === answer.head.cursor.epoch;
      const swapped: ConnectionState = {
        ...state,
        cursor: answer.head.cursor,
        mustResync: false,
        // A lease of another history permits nothing in this one.
        lease: sameHistory ? state.lease : null,
      };
      const overtaken = overtake(swapped, now, random, effects);
      effects.push({ kind: "acknowledge", revision: answer.head.cursor.revision, receivedMs: now.monotonicMs });
      return granted(overtaken, poll, answer.head, now, random, effects);
    }
    case "tokenRefused":
    case "unusable":
      return missed(state, poll, answer, now, random, effects);
  }
}

function ask(
  state: ConnectionState,
  { isInStep, misses }: WaitingPoll | AskingPoll,
  now: Instant,
  effects: ConnectionEffect[],
): ConnectionState {
  const { settings, cursor, mustResync } = state;
  const polls = state.polls + 1;
  const nonce = `${settings.pollNonce}-${polls}`;
  effects.push({ kind: "poll", nonce, cursor: mustResync ? null : cursor });
  const deadlineMs = now.monotonicMs + POLL_TIMEOUT_MS;
  const hello = helloOf(state);
  return { ...state, polls, poll: { kind: "asking", nonce, asked: now, deadlineMs, cursor, hello, isInStep, misses } };
}

function helloOf({ link }: ConnectionState): ServerHello | null {
  return link.kind === "streaming" ? link.hello : null;
}

/** Nothing is newer than our revision; where that is one of another history, everything is. */
function unchanged(
  state: ConnectionState,
  poll: AskingPoll,
  head: PollHead,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  const { cursor, mustResync } = state;
  const { epoch, revision, mark } = head.cursor;
  if (!mustResync && cursor?.epoch === epoch && cursor.revision === revision && cursor.mark === mark) {
    return granted(state, poll, head, now, random, effects);
  }
  const lease = cursor?.epoch === epoch ? state.lease : null;
  const elsewhere: PollAnswer = { kind: "unusable", detail: "the server is at another place of another history" };
  return missed({ ...state, mustResync: true, lease }, poll, elsewhere, now, random, effects);
}

/** We hold the revision that the server answered with: the lease runs from the ask. */
function granted(
  state: ConnectionState,
  { asked, isInStep }: AskingPoll,
  head: PollHead,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  if (!isInStep) {
    effects.push({
      kind: "problem",
      level: "warn",
      key: "poll.begun",
      message: "there is no stream to the server, but HTTP works: polling; outcomes wait until the stream is back",
    });
  }
  const leaseMs = leaseMsOf(head.leaseMs);
  const untilMs = Math.max(now.monotonicMs, asked.monotonicMs + pollIntervalMs(leaseMs, random()));
  return {
    ...state,
    lease: longerLease(state.lease, { asked, leaseMs }, now),
    poll: { kind: "waiting", untilMs, isInStep: true, misses: 0 },
  };
}

function missed(
  state: ConnectionState,
  poll: AskingPoll,
  answer: Extract<PollAnswer, { kind: "tokenRefused" | "unusable" }>,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  const misses = poll.misses + 1;
  const untilMs = now.monotonicMs + retryDelayMs(answer, misses, random());
  if (answer.kind === "tokenRefused") effects.push(...tokenRefused(answer.httpStatus));
  else {
    effects.push({
      kind: "problem",
      level: "warn",
      key: `poll.${answer.detail.slice(0, 80)}`,
      message: `polling the server failed (${answer.detail}); trying on`,
    });
  }
  return { ...state, poll: { kind: "waiting", untilMs, isInStep: poll.isInStep && misses < POLL_MISSES, misses } };
}

function retryDelayMs(
  answer: Extract<PollAnswer, { kind: "tokenRefused" | "unusable" }>,
  misses: number,
  random: number,
): number {
  if (answer.kind === "tokenRefused" || answer.isForbidden) return unauthorizedDelayMs(random);
  const delayMs = pollRetryDelayMs(misses, random);
  return answer.retryAfterMs === undefined ? delayMs : serverDelayMs(answer.retryAfterMs, delayMs, 1);
}

/** A stream that was about to bring what we have now could only take us back: it starts again, from our new place. */
function overtake(
  state: ConnectionState,
  now: Instant,
  random: () => number,
  effects: ConnectionEffect[],
): ConnectionState {
  const { kind } = state.link;
  if (kind !== "greeting" && kind !== "streaming") return state;
  return giveUp(state, { detail: "overtaken by a poll" }, 1000, now, random, effects);
}

function end(state: ConnectionState, effects: ConnectionEffect[]): ConnectionState {
  if (state.poll.kind === "off") return state;
  effects.push({ kind: "abandonPoll" });
  return { ...state, poll: { kind: "off" } };
}
