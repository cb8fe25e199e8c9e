/** A refusal that says when the same request may be sent again. */
import { FlagbackError, type Refusal } from "@flagback/schemas";

export class RetryLater extends FlagbackError {
  readonly retryAfterSeconds: number;

  constructor(refusal: Refusal, retryAfterMs: number) {
    super(refusal);
    this.retryAfterSeconds = Math.max(1, Math.ceil(retryAfterMs / 1_000));
  }
}

/** The server has no room for the request just now. */
export function busy(message: string, retryAfterMs: number): RetryLater {
  const hint = "Come back when Retry-After says; a provider does that by itself.";
  return new RetryLater({ code: "overloaded", message, hint }, retryAfterMs);
}

/** Headers that belong to an error's answer. */
export function errorHeaders(error: FlagbackError): Readonly<Record<string, string>> {
  return {
    ...(error.code === "unauthorized" ? { "www-authenticate": "Bearer" } : {}),
    ...(error instanceof RetryLater ? { "retry-after": String(error.retryAfterSeconds) } : {}),
  };
}
