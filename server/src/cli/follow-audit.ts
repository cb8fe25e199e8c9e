/**
 * The audit log as it grows: a long poll that starts again where it ended, and outlives the server's absence.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { AuditEvent, FlagbackError } from "@flagback/schemas";
import { type Api, isPassing } from "./api-client.ts";

/** How long the server holds a poll that has nothing to say. */
const POLL_WAIT_MS = 20_000;
/** Between attempts while the server is away, or has no room. */
const RETRY_MS = 1_000;
/** Events asked for at once. */
const PAGE_SIZE = 1_000;

export interface FollowOptions {
  /** Events with a greater id. */
  readonly after: number;
  readonly target?: string;
  /** Ends the sequence. */
  readonly signal: AbortSignal;
  /** Called once for each row of failed attempts. */
  readonly onUnreachable?: (error: FlagbackError) => void;
}

/** @throws FlagbackError any refusal; being unreachable or overloaded is no reason to end. */
export async function* followAudit(api: Api, options: FollowOptions): AsyncGenerator<AuditEvent, void> {
  const { target, signal, onUnreachable } = options;
  let after = options.after;
  let isAway = false;
  while (!signal.aborted) {
    try {
      const page = await api.audit({ after, target, signal, limit: PAGE_SIZE, waitMs: POLL_WAIT_MS });
      isAway = false;
      for (const event of page) {
        yield event;
        after = event.id;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isPassing(error)) throw error;
      if (!isAway) onUnreachable?.(error);
      isAway = true;
      await delay(RETRY_MS, undefined, { signal }).catch(() => {});
    }
  }
}
