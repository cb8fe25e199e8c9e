/** Whether the process lives, whether it can take changes, and its numbers. */
import type { App, ServerContext } from "../context.ts";

export function healthRoutes(app: App, context: ServerContext): void {
  app.get("/healthz", { config: { access: "anybody" } }, () => ({ status: "ok" }));

  app.get("/readyz", { config: { access: "anybody" } }, async (_request, reply) => {
    const problem = await context.health.check();
    if (problem === undefined) return { status: "ready", revision: context.engine.history.head.revision };
    return reply.status(503).send({ status: "not ready", reason: `The database can't be written: ${problem}.` });
  });

  app.get("/metrics", { config: { access: "viewer" } }, async (_request, reply) => {
    const text = await context.scrape();
    return reply.type(context.metrics.registry.contentType).send(text);
  });
}
