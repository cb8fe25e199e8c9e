/** Measures every request, by its route and not by its path: anybody can make paths. */
import type { Metrics } from "../telemetry/metrics.ts";
import type { App } from "./context.ts";

/** The route of what no route takes. */
const NO_ROUTE = "none";

export function measureRequests(app: App, { requestSeconds }: Pick<Metrics, "requestSeconds">): void {
  app.addHook("onResponse", async (request, reply) => {
    const { url: route } = request.routeOptions;
    const labels = { route: route ?? NO_ROUTE, method: route ? request.method : NO_ROUTE, status: reply.statusCode };
    requestSeconds.observe(labels, reply.elapsedTime / 1_000);
  });
}
