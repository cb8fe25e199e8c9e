/**
 * Names every request, measures it by its route (paths anybody can make), and traces it where it may change something.
 */
import type { Metrics } from "../telemetry/metrics.ts";
import { beginRequestSpan, type Context, failSpan, type Span } from "../telemetry/tracing.ts";
import type { App } from "./context.ts";
import { REQUEST_ID_HEADER } from "./request-id.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The trace of a request that may change something. */
    tracing: { readonly span: Span; readonly context: Context } | undefined;
  }
}

/** The route of what no route takes. */
const NO_ROUTE = "none";
const READING = ["GET", "HEAD", "OPTIONS"];

export function followRequests(app: App, { requestSeconds }: Pick<Metrics, "requestSeconds">): void {
  app.decorateRequest("tracing", undefined);
  app.addHook("onRequest", async (request, reply) => {
    reply.header(REQUEST_ID_HEADER, request.id);
    const { url: route, config } = request.routeOptions;
    // What runtimes send are reports and no changes.
    if (route === undefined || config.access === "runtime" || READING.includes(request.method)) return;
    request.tracing = beginRequestSpan(`${request.method} ${route}`, request.headers, {
      "http.request.method": request.method,
      "http.route": route,
      "flagback.request_id": request.id,
    });
  });
  app.addHook("onResponse", async (request, reply) => {
    const { url } = request.routeOptions;
    const route = url ?? NO_ROUTE;
    const method = url === undefined ? NO_ROUTE : request.method;
    const status = reply.statusCode;
    requestSeconds.observe({ method, route, status }, reply.elapsedTime / 1_000);
    const span = request.tracing?.span;
    span?.setAttribute("http.response.status_code", status);
    if (span && status >= 500) failSpan(span, `answered ${status}`);
    span?.end();
    request.log.debug({ method, route, status, ms: Math.round(reply.elapsedTime) }, "answered a request");
  });
}
