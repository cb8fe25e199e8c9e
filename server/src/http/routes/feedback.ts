/** Feedback about runs: stored and shown, never judged. */
import { Feedback, FeedbackBody, type OutcomesAnswer } from "@flagback/schemas";
import * as z from "zod";
import { refusals, unreportable } from "../../ledger/reportable.ts";
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
    const refusal = refusals("feedback_invalid");
    request.body.feedback.forEach((item, index) => {
      const parsed = Feedback.safeParse(item);
      const problem = parsed.success ? unreportable(parsed.data, context.engine.world, mayReport) : refusal(parsed);
      if (problem) rejected.push({ index, ...problem });
      else if (parsed.success) taken.push(parsed.data);
    });
    const duplicates = await context.feedback.take(taken);
    context.metrics.feedback.inc({ result: "rejected" }, rejected.length);
    return { accepted: taken.length - duplicates, duplicates, rejected } satisfies OutcomesAnswer;
  });

  app.get(
    "/v1/feedback",
    { config: { access: "viewer" }, schema: { querystring: FeedbackQuery } },
    async ({ query }) => ({ feedback: await context.store.readFeedback(query) }),
  );
}
