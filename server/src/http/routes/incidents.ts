/** Incidents: what was rolled back, what became of it, and what people say about it. */
import { FlagbackError, IncidentNoteBody, ReasonBody } from "@flagback/schemas";
import * as z from "zod";
import { reportOf } from "../../incidents/report.ts";
import type { StoredIncident } from "../../store/store.ts";
import { ChangeQuery, change } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";
import { DrillsQuery, listed } from "../drills-query.ts";

/** The newest rows of the alias that a report's timeline is made of. */
const MAX_AUDIT_ROWS = 1_000;

const ById = z.object({ id: z.string() });

export function incidentRoutes(app: App, context: ServerContext): void {
  app.get("/v1/incidents", { config: { access: "viewer" }, schema: { querystring: DrillsQuery } }, async (request) => ({
    incidents: listed(await context.store.readIncidents(), ({ incident }) => incident.alias, request.query).map(
      flattened,
    ),
  }));

  app.get("/v1/incidents/:id", { config: { access: "viewer" }, schema: { params: ById } }, async (request) =>
    withRecovery(context, await findIncident(context, request.params.id)),
  );

  app.get(
    "/v1/incidents/:id/report.md",
    { config: { access: "viewer" }, schema: { params: ById } },
    async (request, reply) => {
      const found = await findIncident(context, request.params.id);
      const { incident, snapshot } = found;
      const target = `alias:${incident.alias}`;
      const events = await context.store.readAudit({ target, limit: MAX_AUDIT_ROWS });
      const since = snapshot?.rolloutStartedAt ?? incident.openedAt;
      const report = reportOf({
        ...found,
        snapshot,
        recovery: context.recovery.recoveryOf(incident),
        audit: events.filter((event) => event.timestamp >= since),
      });
      return reply.type("text/markdown; charset=utf-8").send(report);
    },
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
function flattened({ incident, timings, ...more }: StoredIncident) {
  const { convergeMs = null, recoverMs = null, ...rest } = incident;
  return { ...rest, timings: { ...timings, convergeMs, recoverMs }, ...more };
}
