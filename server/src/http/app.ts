/**
 * The HTTP API: fastify with zod schemas, one access rule on each route, problem documents for errors.
 */
import fastifySwagger from "@fastify/swagger";
import { MAX_VERSION_ID_LENGTH } from "@flagback/schemas";
import { type FastifyBaseLogger, fastify, LogController } from "fastify";
import {
  createJsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from "fastify-type-provider-zod";
import type { Logger } from "pino";
import { MAX_BODY_BYTES } from "../limits.ts";
import { SignalSender } from "../triggers/signal-sender.ts";
import { guardRoutes } from "./access.ts";
import { parseBodies } from "./body-parsers.ts";
import type { App, ServerContext } from "./context.ts";
import type { Door } from "./door.ts";
import { followRequests } from "./follow-requests.ts";
import { handleError } from "./problem.ts";
import { requestIdOf } from "./request-id.ts";
import { aliasRoutes } from "./routes/aliases.ts";
import { applyRoute } from "./routes/apply.ts";
import { backupRoute } from "./routes/backup.ts";
import { decisionLinkRoutes } from "./routes/decision-link.ts";
import { decisionRoutes } from "./routes/decisions.ts";
import { drillRoutes } from "./routes/drills.ts";
import { feedbackRoutes } from "./routes/feedback.ts";
import { flagRoutes } from "./routes/flags.ts";
import { healthRoutes } from "./routes/health.ts";
import { incidentRoutes } from "./routes/incidents.ts";
import { killSwitchRoutes } from "./routes/kill-switches.ts";
import { openApiRoute } from "./routes/openapi.ts";
import { outcomeRoutes } from "./routes/outcomes.ts";
import { recordRoutes } from "./routes/records.ts";
import { releaseRoutes } from "./routes/releases.ts";
import { snapshotRoute } from "./routes/snapshot.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import { triggerRoutes } from "./routes/triggers.ts";
import { versionRoutes } from "./routes/versions.ts";
import { webhookRoutes } from "./routes/webhooks.ts";

export async function createApp(context: ServerContext, door: Door, log: Logger): Promise<App> {
  const app: App = fastify({
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "requestId" }),
    genReqId: (request) => requestIdOf(request.headers),
    serverFactory: (handle) => door.listener(handle),
    bodyLimit: MAX_BODY_BYTES,
    forceCloseConnections: true,
    // The longest thing that a path names.
    routerOptions: { maxParamLength: MAX_VERSION_ID_LENGTH },
    frameworkErrors: handleError,
    // The door answers them, on each of its listeners; fastify would on the first one only.
    clientErrorHandler: () => undefined,
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(handleError);
  followRequests(app, context.metrics);
  parseBodies(app);
  await app.register(fastifySwagger, {
    openapi: { openapi: "3.1.0", info: { title: "flagback", version: "0.1.0", license: { name: "Apache-2.0" } } },
    transform: createJsonSchemaTransform({}),
  });

  guardRoutes(app, door);

  openApiRoute(app);
  healthRoutes(app, context);
  versionRoutes(app, context);
  aliasRoutes(app, context);
  releaseRoutes(app, context);
  killSwitchRoutes(app, context);
  flagRoutes(app, context);
  applyRoute(app, context);
  outcomeRoutes(app, context);
  snapshotRoute(app, context);
  feedbackRoutes(app, context);
  recordRoutes(app, context);
  incidentRoutes(app, context);
  decisionRoutes(app, context);
  decisionLinkRoutes(app, context);
  drillRoutes(app, context);
  tokenRoutes(app, context);
  webhookRoutes(app, context);
  triggerRoutes(app, context, new SignalSender({ tokens: context.tokens, door, now: context.now }));
  backupRoute(app, context);
  door.takeUpgrades(app.server);
  return app;
}
