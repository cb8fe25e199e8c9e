/** Whether the process lives, whether it can take changes, and its numbers. */
import { weightOf } from "@flagback/core";
import { TOTAL_WEIGHT } from "@flagback/schemas";
import type { App, ServerContext } from "../context.ts";

export function healthRoutes(app: App, context: ServerContext): void {
  app.get("/healthz", { config: { access: "anybody" } }, () => ({ status: "ok" }));

  app.get("/readyz", { config: { access: "anybody" } }, async (_request, reply) => {
    const problem = await context.health.check();
    if (problem === undefined) return { status: "ready", revision: context.engine.history.head.revision };
    return reply.status(503).send({ status: "not ready", reason: `The database can't be written: ${problem}.` });
  });

  app.get("/metrics", { config: { access: "viewer" } }, async (_request, reply) => {
    await refresh(context);
    return reply.type(context.metrics.registry.contentType).send(await context.metrics.registry.metrics());
  });
}

/** Gauges are read off the world when somebody asks. */
async function refresh({ engine, hub, store, health, metrics }: ServerContext): Promise<void> {
  const live = hub.runtimes().filter((runtime) => runtime.leaseLive).length;
  metrics.runtimes.set({ state: "live" }, live);
  metrics.runtimes.set({ state: "without_lease" }, hub.runtimes().length - live);
  metrics.revision.set(engine.history.head.revision);
  metrics.outboxDepth.set(await store.outboxDepth());
  metrics.databaseBytes.set(await store.sizeBytes());
  metrics.databaseWritable.set((await health.check()) === undefined ? 1 : 0);
  metrics.killSwitchEngaged.reset();
  for (const { key, engaged } of engine.world.killSwitches.values()) {
    for (const { scope } of engaged) metrics.killSwitchEngaged.set({ key, scope }, 1);
  }
  metrics.candidateWeight.reset();
  for (const alias of engine.world.aliases.values()) {
    for (const version of alias.candidates) {
      metrics.candidateWeight.set({ alias: alias.name, version }, weightOf(alias.allocation, version) / TOTAL_WEIGHT);
    }
  }
}
