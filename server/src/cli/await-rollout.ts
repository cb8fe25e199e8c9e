/**
 * Waits for a rollout's end by long polls, one after the other, and outlives the server's absence.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { FlagbackError } from "@flagback/schemas";
import type { AwaitedRollout } from "./api-answers.ts";
import { type Api, isPassing } from "./api-client.ts";

/** How long the server holds one poll. */
const POLL_WAIT_MS = 20_000;
/** Between attempts while the server is away, or has no room. */
const RETRY_MS = 1_000;

export interface AwaitOptions {
  readonly timeoutMs: number;
  /** Called once for each row of failed attempts. */
  readonly onUnreachable: (error: FlagbackError) => void;
}

/**
 * The rollout that is the alias's last one now, when it has ended or the time is over; its result is null then.
 * @throws FlagbackError any refusal that does not pass; `unreachable` at once where nobody answers at first, and where nobody does at the end
 */
export async function awaitRollout(
  api: Pick<Api, "awaitRollout">,
  alias: string,
  { timeoutMs, onUnreachable }: AwaitOptions,
): Promise<AwaitedRollout> {
  const deadline = performance.now() + timeoutMs;
  const leftMs = () => Math.max(0, Math.ceil(deadline - performance.now()));
  let state = await api.awaitRollout(alias, { timeoutMs: 0 });
  const { rolloutNumber } = state.waitedFor;
  let away: FlagbackError | undefined;
  while (state.waitedFor.result === null && leftMs() > 0) {
    try {
      state = await api.awaitRollout(alias, { timeoutMs: Math.min(POLL_WAIT_MS, leftMs()), rollout: rolloutNumber });
      away = undefined;
    } catch (error) {
      if (!isPassing(error)) throw error;
      if (!away) onUnreachable(error);
      away = error;
      await delay(Math.min(RETRY_MS, leftMs()));
    }
  }
  if (away) throw away;
  return state;
}
