/**
 * Names every request, and measures it by its route: paths anybody can make.
 */
import type { Metrics } from "../telemetry/metrics.ts";
import type { App } from "./context.ts";
import { REQUEST_ID_HEADER } from "./request-id.ts";

/** The route of what no route takes. */
const NO_ROUTE = "none";

export function followRequests(app: App, { requestSeconds }: Pick<Metrics, "requestSeconds">): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.header(REQUEST_ID_HEADER, request.id);
  });
  app.addHook("onResponse", async (request, reply) => {
    const { url } = request.routeOptions;
    const route = url ?? NO_ROUTE;
    const method = url === undefined ? NO_ROUTE : request.method;
    const status = reply.statusCode;
    requestSeconds.observe({ method, route, status }, reply.elapsedTime / 1_000);
    request.log.debug({ method, route, status, ms: Math.round(reply.elapsedTime) }, "answered a request");
  });
}
