/** Kill switches, and the stop of everything. */
import { randomUUID } from "node:crypto";
import { EngageBody, Name, PutKillSwitchBody, ReasonBody, ReleaseBody } from "@flagback/schemas";
import * as z from "zod";
import { ChangeQuery, change } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";
import { DrillsQuery, listed } from "../drills-query.ts";

const ByKey = z.object({ key: z.string() });

export function killSwitchRoutes(app: App, context: ServerContext): void {
  app.get("/v1/kill-switches", { config: { access: "viewer" }, schema: { querystring: DrillsQuery } }, (request) => ({
    killSwitches: listed(context.engine.world.killSwitches.values(), ({ key }) => key, request.query),
  }));

  app.put(
    "/v1/kill-switches/:key",
    {
      config: { access: "lead" },
      schema: { params: z.object({ key: Name }), body: PutKillSwitchBody, querystring: ChangeQuery },
    },
    (request) => change(context, request, { kind: "putKillSwitch", key: request.params.key, ...request.body }),
  );

  app.post(
    "/v1/kill-switches/:key/engage",
    { config: { access: "operator" }, schema: { params: ByKey, body: EngageBody, querystring: ChangeQuery } },
    (request) =>
      change(context, request, { kind: "engage", key: request.params.key, entryId: randomUUID(), ...request.body }),
  );

  app.post(
    "/v1/kill-switches/:key/release",
    { config: { access: "operator" }, schema: { params: ByKey, body: ReleaseBody, querystring: ChangeQuery } },
    (request) => change(context, request, { kind: "release", key: request.params.key, ...request.body }),
  );

  app.post(
    "/v1/stop",
    { config: { access: "operator" }, schema: { body: ReasonBody, querystring: ChangeQuery } },
    (request) =>
      change(context, request, { kind: "stopEverything", reason: request.body.reason, entryId: randomUUID() }),
  );
}
