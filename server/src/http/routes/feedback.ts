/** Feedback about runs: stored and shown, never judged. */
import { Feedback, FeedbackBody, type Outcome, type OutcomesAnswer, type StoredFeedback } from "@flagback/schemas";
import * as z from "zod";
import { invalid, unreportable } from "../../ledger/reportable.ts";
import { mayUseAlias } from "../../stream/frames.ts";
import type { App, ServerContext } from "../context.ts";

/** Items in one answer. */
const MAX_ROWS = 1_000;

const FeedbackQuery = z.object({
  alias: z.string().optional(),
  version: z.string().optional(),
  runId: z.string().optional(),
  before: z.coerce.number().int().min(1).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_ROWS).default(100),
});

export function feedbackRoutes(app: App, context: ServerContext): void {
  app.post("/v1/feedback", { config: { access: "runtime" }, schema: { body: FeedbackBody } }, async (request) => {
    const mayReport = (alias: string) => mayUseAlias(request.token.aliases, alias);
    const rejected: OutcomesAnswer["rejected"] = [];
    const taken: Feedback[] = [];
    request.body.feedback.forEach((item, index) => {
      const { data, error } = Feedback.safeParse(item);
      const problem = data
        ? unreportable(data, context.engine.world, mayReport)
        : invalid("feedback_invalid", error?.issues[0]);
      if (data && !problem) taken.push(data);
      else if (problem) rejected.push({ index, ...problem });
    });
    const duplicates = await storeFeedback(context, taken);
    context.metrics.feedback.inc({ result: "rejected" }, rejected.length);
    return { accepted: taken.length - duplicates, duplicates, rejected } satisfies OutcomesAnswer;
  });

  app.get(
    "/v1/feedback",
    { config: { access: "viewer" }, schema: { querystring: FeedbackQuery } },
    async ({ query }) => ({ feedback: await context.store.readFeedback(query) }),
  );
}

/** Feedback that an outcome is which came too late to be judged. The same one again is the same feedback. */
export function feedbackOf(outcome: Outcome): Feedback {
  const { runId, alias, version, conversationId, status, errorType } = outcome;
  const { costUsd, quality, safetyFlags, attributes, metrics } = outcome;
  const said = { status, errorType, costUsd, quality, safetyFlags, attributes, metrics };
  return { id: `outcome:${runId}`, runId, alias, version, conversationId, ...said };
}

/** Stores feedback, durably. Answers how much of it was known already. */
export async function storeFeedback(context: ServerContext, feedback: readonly Feedback[]): Promise<number> {
  if (feedback.length === 0) return 0;
  const receivedAt = new Date(context.now()).toISOString();
  const rows: StoredFeedback[] = feedback.map((each) => ({ ...each, receivedAt }));
  const { duplicates, dropped } = await context.store.putFeedback(rows);
  context.metrics.feedback.inc({ result: "accepted" }, rows.length - duplicates);
  context.metrics.feedback.inc({ result: "duplicate" }, duplicates);
  if (dropped > 0) context.metrics.dropped.inc({ reason: "feedback" }, dropped);
  return duplicates;
}
