/**
 * Feedback on its way to the server: by HTTP, because whoever sends it wants to know what became of it, and may hold no
 * connection. It is sent again until it is answered, within bounds; the server stores each id once.
 */
import { type Feedback, OutcomesAnswer, Problem } from "@flagback/schemas";
import {
  FEEDBACK_ATTEMPT_MS,
  FEEDBACK_ATTEMPTS,
  FEEDBACK_FIRST_DELAY_MS,
  FEEDBACK_MAX_DELAY_MS,
  MAX_FEEDBACK_ANSWER_BYTES,
} from "../limits.ts";
import type { ProblemLog } from "../logger.ts";

/** `refused`: the server does not take it, and would not later. `unreachable`: nobody answered; it may be sent again. */
export type FeedbackResult = "accepted" | "refused" | "unreachable";

export interface FeedbackSenderOptions {
  readonly url: string;
  readonly token: string;
  readonly log: ProblemLog;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** For tests: waits between two attempts. */
  readonly sleep?: (ms: number) => Promise<void>;
}

/** What one attempt came to. */
type FeedbackAttempt =
  | { readonly kind: "taken"; readonly problem?: string }
  | { readonly kind: "refused"; readonly problem: string }
  | { readonly kind: "failed"; readonly detail: string; readonly retryAfterMs?: number };

/** Sends feedback about runs. Never throws. */
export async function sendFeedback(
  feedback: readonly Feedback[],
  options: FeedbackSenderOptions,
): Promise<FeedbackResult> {
  const { log, random, sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms)) } = options;
  for (let attempt = 0; ; attempt++) {
    const came = await send(feedback, options);
    switch (came.kind) {
      case "taken":
        if (came.problem !== undefined) log.warn("feedback.part", `feedback was taken in part only: ${came.problem}`);
        return "accepted";
      case "refused":
        log.warn("feedback.refused", `the server refuses feedback: ${came.problem}`);
        return "refused";
      case "failed":
        if (attempt + 1 < FEEDBACK_ATTEMPTS) {
          await sleep(feedbackDelayMs(attempt, came.retryAfterMs, random()));
          break;
        }
        log.warn("feedback.unreachable", `feedback could not be sent: ${came.detail}`);
        return "unreachable";
    }
  }
}

/** Full jitter, doubling; at least what the server asks for, within our own limit. */
function feedbackDelayMs(attempt: number, retryAfterMs: number | undefined, random: number): number {
  const delayMs = random * FEEDBACK_FIRST_DELAY_MS * 2 ** attempt;
  return Math.min(FEEDBACK_MAX_DELAY_MS, Math.max(delayMs, retryAfterMs ?? 0));
}

/** Only flagback itself refuses: what stands in between, such as a proxy, says nothing about the feedback. */
function feedbackAttempt(status: number, headers: Headers, text: string): FeedbackAttempt {
  const body = jsonOf(text);
  const answer = OutcomesAnswer.safeParse(body);
  if (status === 200 && answer.success) {
    const { accepted, duplicates, rejected } = answer.data;
    const problem = rejected[0]?.message;
    if (problem !== undefined && accepted + duplicates === 0) return { kind: "refused", problem };
    return { kind: "taken", ...(problem !== undefined && { problem }) };
  }
  const problem = Problem.safeParse(body);
  const isFinal = status >= 400 && status < 500 && status !== 408 && status !== 429;
  if (isFinal && problem.success) return { kind: "refused", problem: `${status}, ${problem.data.detail}` };
  const seconds = Number(headers.get("retry-after") ?? Number.NaN);
  return {
    kind: "failed",
    detail: `HTTP ${status}${problem.success ? "" : ", which is not flagback's answer"}`,
    ...(seconds >= 0 && { retryAfterMs: seconds * 1_000 }),
  };
}

async function send(feedback: readonly Feedback[], { url, token }: FeedbackSenderOptions): Promise<FeedbackAttempt> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        accept: "application/json, application/problem+json",
      },
      body: JSON.stringify({ feedback }),
      redirect: "manual",
      signal: AbortSignal.timeout(FEEDBACK_ATTEMPT_MS),
    });
    return feedbackAttempt(response.status, response.headers, await textOf(response));
  } catch (error) {
    return { kind: "failed", detail: reasonOf(error) };
  }
}

async function textOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_FEEDBACK_ANSWER_BYTES) throw new RangeError("the answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Node's fetch hides why it failed in a cause. Its message may quote a header, so only codes and names are repeated. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "no answer";
  const { code } = (error.cause ?? {}) as { readonly code?: unknown };
  return typeof code === "string" ? code : error.name;
}
