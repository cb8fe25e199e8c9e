/** Outcomes by HTTP, beside the stream. */
import { OutcomesBody } from "@flagback/schemas";
import { mayUseAlias } from "../../stream/frames.ts";
import type { App, ServerContext } from "../context.ts";

export function outcomeRoutes(app: App, context: ServerContext): void {
  app.post("/v1/outcomes", { config: { access: "runtime" }, schema: { body: OutcomesBody } }, async (request) => {
    // What can't be made durable is turned away before it is counted: it would only wait in memory.
    context.health.assertWritable();
    const scope = request.token.aliases;
    const result = context.book.countReports(
      request.body.outcomes,
      `token:${request.token.id}`,
      (alias) => mayUseAlias(scope, alias),
      context.now(),
    );
    const { accepted, duplicates, rejected, late, checks } = result;
    // In memory at once, as the counts are: the same report again is a duplicate, whatever the disk says now.
    context.synthetic.note(checks);
    context.noteAccepted(accepted - checks.length);
    // Acknowledged only when durable. Feedback first: after a crash in between, both are reported and stored again.
    await context.feedback.takeLate(late);
    await context.engine.flushLedger();
    await context.synthetic.settle();
    context.metrics.reports.inc({ result: "accepted" }, checks.length);
    context.metrics.reports.inc({ result: "duplicate" }, duplicates);
    context.metrics.reports.inc({ result: "rejected" }, rejected.length);
    return { accepted, duplicates, rejected };
  });
}
