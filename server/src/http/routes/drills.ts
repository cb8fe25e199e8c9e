/** Drills: begun, told of step by step and ended by whoever runs them; the records. */
import { type Drill, DrillStepsBody, FinishDrillBody, Name, StartDrillBody } from "@flagback/schemas";
import * as z from "zod";
import { deliveryFinding } from "../../drills/checks/delivery.ts";
import { type App, actorOf, type ServerContext } from "../context.ts";

const ById = z.object({ id: z.string() });

export function drillRoutes(app: App, context: ServerContext): void {
  const { drills } = context;

  app.get(
    "/v1/drills",
    { config: { access: "viewer" }, schema: { querystring: z.object({ alias: Name.optional() }) } },
    (request) => ({ drills: drills.list(request.query.alias) }),
  );

  app.get("/v1/drills/:id", { config: { access: "viewer" }, schema: { params: ById } }, async (request) => {
    const drill = drills.find(request.params.id);
    return { ...drill, alerts: await alertsOf(context, drill) };
  });

  app.post("/v1/drills", { config: { access: "lead" }, schema: { body: StartDrillBody } }, (request) =>
    drills.start(request.body, actorOf(request.token)),
  );

  app.post(
    "/v1/drills/:id/steps",
    { config: { access: "lead" }, schema: { params: ById, body: DrillStepsBody } },
    async (request) => ({ drill: await drills.addSteps(request.params.id, request.body.steps) }),
  );

  app.post(
    "/v1/drills/:id/finish",
    { config: { access: "lead" }, schema: { params: ById, body: FinishDrillBody } },
    async (request) => ({ drill: await drills.finish(request.params.id, request.body, actorOf(request.token)) }),
  );
}

/** Whether the alerts about the drill's last rollback have arrived. */
async function alertsOf({ engine, store, webhooks }: ServerContext, { shadow, startedAt }: Drill) {
  const incident = [...engine.world.incidents.values()]
    .filter((each) => each.alias === shadow && each.openedAt >= startedAt)
    .sort((a, b) => a.rolloutNumber - b.rolloutNumber)
    .at(-1);
  const deliveries = incident ? await store.alertsOf(incident.id) : [];
  return { ...deliveryFinding(deliveries, webhooks.size), deliveries };
}
