/** The ways of a runtime beside the stream: outcomes by HTTP, and the poll path. */
import { OutcomesBody } from "@flagback/schemas";
import * as z from "zod";
import { mayUseAlias } from "../../stream/frames.ts";
import { textOf } from "../../stream/text-frame.ts";
import type { App, ServerContext } from "../context.ts";
import { feedbackOf, storeFeedback } from "./feedback.ts";

export function outcomeRoutes(app: App, context: ServerContext): void {
  app.post("/v1/outcomes", { config: { access: "runtime" }, schema: { body: OutcomesBody } }, async (request) => {
    const scope = request.token.aliases;
    const result = context.book.countReports(
      request.body.outcomes,
      `token:${request.token.id}`,
      (alias) => mayUseAlias(scope, alias),
      context.now(),
    );
    const { accepted, duplicates, rejected, late } = result;
    context.metrics.outcomes.inc({ result: "accepted" }, accepted);
    context.metrics.outcomes.inc({ result: "duplicate" }, duplicates);
    context.metrics.outcomes.inc({ result: "rejected" }, rejected.length);
    // Acknowledged only when durable. Feedback first: after a crash in between, both are reported and stored again.
    await storeFeedback(context, late.map(feedbackOf));
    await context.engine.flushLedger();
    return { accepted, duplicates, rejected };
  });

  app.get(
    "/v1/snapshot",
    {
      config: { access: "runtime" },
      schema: {
        querystring: z.object({
          after: z.coerce.number().int().min(0).optional(),
          // It goes back in a header, so it holds nothing that a header can't.
          lease: z
            .string()
            .regex(/^[A-Za-z0-9_-]{1,64}$/, "use 1 to 64 letters, digits, '_' or '-'")
            .optional(),
        }),
      },
    },
    (request, reply) => {
      const { head, epoch } = context.engine.history;
      const { after, lease } = request.query;
      void reply.headers({
        "cache-control": "no-store",
        "flagback-epoch": epoch,
        "flagback-revision": head.revision,
        "flagback-mark": head.mark,
        "flagback-lease-ms": context.leaseMs,
        ...(lease === undefined ? {} : { "flagback-lease": lease }),
      });
      if (after === head.revision) return reply.status(304).send();
      // The same encoding as the stream's, shared by all that ask for it.
      return reply.type("application/json").send(textOf(context.hub.frames.snapshot(request.token.aliases)));
    },
  );
}
