/**
 * One delivery: a POST to an address that the guard permits, of bounded time, following nobody elsewhere and reading
 * nothing of the answer but its status.
 */
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { WebhookGuard } from "./webhook-guard.ts";

/** From the lookup to the answer's status. */
export const DELIVERY_TIMEOUT_MS = 5_000;
/** Headers of an answer, in bytes. */
const MAX_ANSWER_HEADER_BYTES = 16 * 1024;

export interface AlertRequest {
  readonly url: string;
  readonly id: string;
  readonly body: string;
  /** Beside what every alert has: its signature, and what lets the receiver go on with the trace. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers what went wrong; `undefined` where the alert was taken. Never says the URL, which may hold a secret. */
export async function postAlert(
  alert: AlertRequest,
  guard: WebhookGuard,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const url = new URL(alert.url);
    guard.check(url);
    const status = await post(url, alert, guard, signal);
    return status >= 200 && status < 300 ? undefined : `the webhook answered ${status}`;
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    return message || code || "the connection failed";
  }
}

function post(
  url: URL,
  { id, body, headers }: AlertRequest,
  guard: WebhookGuard,
  signal: AbortSignal,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        "webhook-id": id,
        ...headers,
      },
      // A connection of its own: one from a pool could be to an address that was found under other rules.
      agent: false,
      lookup: guard.lookup,
      maxHeaderSize: MAX_ANSWER_HEADER_BYTES,
      signal,
    });
    const timer = setTimeout(() => request.destroy(new Error("no answer in time")), DELIVERY_TIMEOUT_MS);
    request.on("response", (response) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    request.on("error", reject);
    request.on("close", () => {
      clearTimeout(timer);
      // After an answer or an error this changes nothing.
      reject(new Error("the connection closed without an answer"));
    });
    request.end(body);
  });
}
