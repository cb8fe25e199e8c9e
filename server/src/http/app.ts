/**
 * The HTTP API: fastify with zod schemas, one access rule on each route, problem documents for errors.
 */
import type { Server } from "node:http";
import type { Duplex } from "node:stream";
import fastifySwagger from "@fastify/swagger";
import { FlagbackError, MAX_VERSION_ID_LENGTH, problemOf } from "@flagback/schemas";
import { type FastifyBaseLogger, fastify, LogController } from "fastify";
import {
  createJsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from "fastify-type-provider-zod";
import type { Logger } from "pino";
import { isAllowed } from "../auth/tokens.ts";
import type { App, ServerContext } from "./context.ts";
import { handleError, sendProblem } from "./problem.ts";
import { aliasRoutes } from "./routes/aliases.ts";
import { applyRoute } from "./routes/apply.ts";
import { flagRoutes } from "./routes/flags.ts";
import { healthRoutes } from "./routes/health.ts";
import { killSwitchRoutes } from "./routes/kill-switches.ts";
import { outcomeRoutes } from "./routes/outcomes.ts";
import { recordRoutes } from "./routes/records.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import { versionRoutes } from "./routes/versions.ts";
import { webhookRoutes } from "./routes/webhooks.ts";

/** Largest body of a request, in bytes. */
const MAX_BODY_BYTES = 1024 * 1024;
/** A request whose headers or body have not come by then is ended. */
const REQUEST_TIMEOUT_MS = 30_000;

export async function createApp(context: ServerContext, log: Logger): Promise<App> {
  const app: App = fastify({
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    // The longest thing that a path names.
    routerOptions: { maxParamLength: MAX_VERSION_ID_LENGTH },
    frameworkErrors: handleError,
    clientErrorHandler: refuseMalformed,
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(handleError);
  app.setNotFoundHandler((request, reply) => {
    sendProblem(
      reply,
      new FlagbackError({
        code: "not_found",
        message: `There is nothing at ${request.method} ${request.url.split("?")[0]}.`,
        hint: "The API is described at /openapi.json.",
      }),
    );
  });
  app.addContentTypeParser(
    ["text/yaml", "application/yaml", "application/x-yaml"],
    { parseAs: "string" },
    (_request, body, done) => done(null, body),
  );
  await app.register(fastifySwagger, {
    openapi: { openapi: "3.1.0", info: { title: "flagback", version: "0.1.0", license: { name: "Apache-2.0" } } },
    transform: createJsonSchemaTransform({}),
  });

  app.addHook("onRoute", (route) => {
    if (route.method === "HEAD") return;
    if (!route.config?.access) throw new Error(`the route ${route.method} ${route.url} says not who may call it`);
  });
  app.addHook("onRequest", async (request) => {
    const access = request.routeOptions.config.access;
    // Without a route there is nothing to guard: the not-found handler answers.
    if (access === undefined || access === "anybody") return;
    const token = context.tokens.authenticate(request.headers.authorization);
    request.token = token;
    if (isAllowed(token.role, access)) return;
    throw new FlagbackError({
      code: "forbidden",
      message: `A ${token.role} token may not ${request.method} ${request.routeOptions.url}; it needs ${access}.`,
      hint: `Use a token of role ${access}; an admin creates one with flagback token create --role ${access} --name NAME.`,
    });
  });

  app.get("/openapi.json", { config: { access: "anybody" }, schema: { hide: true } }, () => app.swagger());
  healthRoutes(app, context);
  versionRoutes(app, context);
  aliasRoutes(app, context);
  killSwitchRoutes(app, context);
  flagRoutes(app, context);
  applyRoute(app, context);
  outcomeRoutes(app, context);
  recordRoutes(app, context);
  tokenRoutes(app, context);
  webhookRoutes(app, context);
  attachStream(app, context, log);
  return app;
}

/** The WebSocket upgrade, which fastify does not route. */
function attachStream(app: { readonly server: Server }, context: ServerContext, log: Logger): void {
  app.server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => socket.destroy());
    try {
      if (request.url?.split("?")[0] !== "/v1/stream") {
        throw new FlagbackError({
          code: "not_found",
          message: "There is no WebSocket at this path.",
          hint: "The stream is at /v1/stream.",
        });
      }
      if (request.headers.origin !== undefined) {
        throw new FlagbackError({
          code: "forbidden",
          message: "The stream does not take connections from web pages.",
          hint: "Connect from a server process, which sends no Origin header.",
        });
      }
      const token = context.tokens.authenticate(request.headers.authorization);
      if (token.role !== "runtime") {
        throw new FlagbackError({
          code: "forbidden",
          message: `A ${token.role} token may not open a stream; it needs runtime.`,
          hint: "An admin creates one with flagback token create --role runtime --name NAME.",
        });
      }
      context.hub.admit(request, socket, head, token);
    } catch (error) {
      if (error instanceof FlagbackError) {
        refuse(socket, error);
        return;
      }
      // Nobody above catches: whatever one upgrade brings, it costs that socket and not the process.
      log.error({ err: error }, "an upgrade failed");
      socket.destroy();
    }
  });
}

/** What is no HTTP, or came too slowly, or has too long headers: no request, so fastify's handlers never see it. */
function refuseMalformed(error: Error & { readonly code?: string }, socket: Duplex): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  refuse(
    socket,
    new FlagbackError({
      code: "bad_request",
      message: `This is no request that HTTP/1.1 knows (${error.code ?? error.message}).`,
      hint: "Send one whole request with headers of at most 16 KiB, without long pauses.",
    }),
  );
}

/** Answers on a bare socket and closes it. */
function refuse(socket: Duplex, error: FlagbackError): void {
  const body = JSON.stringify(problemOf(error));
  socket.end(
    `HTTP/1.1 ${error.status} ${error.code}\r\nconnection: close\r\ncontent-type: application/problem+json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
