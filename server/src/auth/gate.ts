/**
 * Checks who asks. Only failures are slowed, and only for their sender: a token that is right always passes, so one bad
 * token in a fleet behind one address locks nobody out. Guessing is hopeless by the secret's 192 bits, not by this; this
 * keeps a loop of bad requests cheap and visible.
 */
import { FlagbackError } from "@flagback/schemas";
import { RetryLater } from "../http/retry-later.ts";
import { MAX_TRACKED_SENDERS } from "../limits.ts";
import { senderOf } from "../net/addresses.ts";
import type { StoredToken } from "../store/store.ts";
import { FailedAttempts } from "./failed-attempts.ts";
import type { Tokens } from "./tokens.ts";

const WINDOW_MS = 60_000;

export class Gate {
  readonly #tokens: Tokens;
  readonly #failed: FailedAttempts;
  readonly #monotonicMs: () => number;
  readonly #onFailure: (result: "refused" | "slowed") => void;

  constructor(parts: {
    readonly tokens: Tokens;
    readonly failuresPerMinute: number;
    readonly monotonicMs: () => number;
    readonly onFailure: (result: "refused" | "slowed") => void;
  }) {
    this.#tokens = parts.tokens;
    this.#monotonicMs = parts.monotonicMs;
    this.#onFailure = parts.onFailure;
    this.#failed = new FailedAttempts({
      perWindow: parts.failuresPerMinute,
      windowMs: WINDOW_MS,
      maxSenders: MAX_TRACKED_SENDERS,
    });
  }

  /** The token that an `Authorization` header carries. @throws FlagbackError `unauthorized` or `too_many_failures`. */
  authenticate(header: string | undefined, clientAddress: string): StoredToken {
    return this.check(() => this.#tokens.authenticate(header), clientAddress);
  }

  /** The token that an attempt finds. @throws FlagbackError what the attempt throws, or `too_many_failures`. */
  check(attempt: () => StoredToken, clientAddress: string): StoredToken {
    try {
      return attempt();
    } catch (error) {
      if (!(error instanceof FlagbackError)) throw error;
      const waitMs = this.#failed.count(senderOf(clientAddress), this.#monotonicMs());
      this.#onFailure(waitMs > 0 ? "slowed" : "refused");
      throw waitMs > 0 ? slowed(waitMs) : error;
    }
  }
}

function slowed(waitMs: number): RetryLater {
  return new RetryLater(
    {
      code: "too_many_failures",
      message: "Too many requests from this address came without a token that is known here.",
      hint: "Give the sender a valid token: requests with one are answered at once, also from this address.",
    },
    waitMs,
  );
}
