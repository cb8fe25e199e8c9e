/**
 * Says how a run went after it has ended, such as a customer's verdict days later in another process: by the run's token.
 */
import { randomUUID } from "node:crypto";
import { FEEDBACK_FIELDS, Feedback } from "@flagback/schemas";
import type { Client } from "@openfeature/server-sdk";
import type { FeedbackResult } from "../outcomes/feedback-sender.ts";
import { fieldsOf } from "../outcomes/outcome.ts";
import { hostOf, type RunHost } from "../run-host.ts";
import { describeThrown } from "../thrown.ts";
import { readRunToken } from "./run-token.ts";

/** What can be said later: at least one of these. */
export type LaterReport = Partial<Pick<Feedback, (typeof FEEDBACK_FIELDS)[number]>> & {
  /** The server stores an id once for each alias, so that a caller can send it again. Default: a random one. */
  readonly feedbackId?: string;
};

/**
 * Sends feedback about the versions that a run was handed itself. It is stored and shown by version, and never judged: what
 * the brain decides on are the runs' own reports. Needs no connection, so it works before `initialize` and after `onClose`.
 * Never throws, and gives up within a minute.
 *
 * @param token what `run.token()` said
 * @returns `accepted` once it is durable; `refused` where the token, the report or the server's answer says that it can't
 * be taken; `unreachable` where nobody answered, and the same `feedbackId` may be sent again
 */
export async function reportLater(
  target: RunHost | Client,
  token: string | null | undefined,
  report: LaterReport,
): Promise<FeedbackResult> {
  const host = "sendFeedback" in target ? target : hostOf(target.metadata.providerMetadata);
  if (!host) return "refused";
  try {
    const feedback = feedbackOf(token, report, host);
    return feedback.length > 0 ? await host.sendFeedback(feedback) : "refused";
  } catch (error) {
    host.warn("feedback.failed", `feedback could not be sent: ${describeThrown(error)}`);
    return "refused";
  }
}

/** One item for each version that the run was handed itself; none where there is nothing to say, which is said. */
function feedbackOf(token: unknown, report: unknown, host: RunHost): readonly Feedback[] {
  const run = readRunToken(token, undefined, host);
  const pins = run?.pins.filter((pin) => pin.isOwn) ?? [];
  if (!run || pins.length === 0) {
    host.warn("feedback.token", "feedback was given no token of a run that was handed a version; it is not sent");
    return [];
  }
  const { feedbackId, ...fields } = fieldsOf(report);
  const said = Object.fromEntries(Object.entries(fields).filter(([field, value]) => isSayable(field, value, host)));
  if (Object.keys(said).length === 0) {
    host.warn("feedback.empty", `feedback says nothing; give it one of ${FEEDBACK_FIELDS.join(", ")}`);
    return [];
  }
  const id = Feedback.shape.id.safeParse(feedbackId).data ?? randomUUID();
  const conversationId = Feedback.shape.conversationId.safeParse(run.conversationId).data;
  return pins.map(({ alias, version }) => ({ id, runId: run.runId, alias, version, conversationId, ...said }));
}

/** A bad detail costs the detail. */
function isSayable(field: string, value: unknown, host: RunHost): boolean {
  const known = FEEDBACK_FIELDS.find((each) => each === field);
  const issue = known ? Feedback.shape[known].safeParse(value).error?.issues[0] : { message: "there is no such field" };
  if (issue) host.warn(`feedback.${field}`, `feedback has a field that can't be used: ${field}: ${issue.message}`);
  return issue === undefined;
}
