/** Incidents: what was rolled back, what became of it, and what people say about it. */
import { FlagbackError, IncidentNoteBody, ReasonBody } from "@flagback/schemas";
import * as z from "zod";
import type { StoredIncident } from "../../store/store.ts";
import { ChangeQuery, change } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";

const ById = z.object({ id: z.string() });

export function incidentRoutes(app: App, context: ServerContext): void {
  app.get("/v1/incidents", { config: { access: "viewer" } }, async () => ({
    incidents: (await context.store.readIncidents()).map(flattened),
  }));

  app.get("/v1/incidents/:id", { config: { access: "viewer" }, schema: { params: ById } }, async (request) =>
    withRecovery(context, await findIncident(context, request.params.id)),
  );

  app.post(
    "/v1/incidents/:id/notes",
    { config: { access: "operator" }, schema: { params: ById, body: IncidentNoteBody, querystring: ChangeQuery } },
    (request) => change(context, request, { kind: "noteIncident", incident: request.params.id, ...request.body }),
  );

  app.post(
    "/v1/incidents/:id/release",
    { config: { access: "operator" }, schema: { params: ById, body: ReasonBody, querystring: ChangeQuery } },
    (request) => change(context, request, { kind: "releaseIncident", incident: request.params.id, ...request.body }),
  );
}

async function findIncident(context: ServerContext, id: string): Promise<StoredIncident> {
  const [found] = await context.store.readIncidents(id);
  if (found) return found;
  throw new FlagbackError({
    code: "incident_not_found",
    message: `There is no incident ${id}.`,
    hint: "List them with flagback incidents.",
  });
}

function withRecovery(context: ServerContext, found: StoredIncident) {
  return { ...flattened(found), recovery: context.recovery.recoveryOf(found.incident) };
}

/** The incident with everything that was measured in one place. */
function flattened({ incident, timings, outcomesToDecision }: StoredIncident) {
  const { convergeMs = null, recoverMs = null, ...rest } = incident;
  return { ...rest, timings: { ...timings, convergeMs, recoverMs }, outcomesToDecision };
}
