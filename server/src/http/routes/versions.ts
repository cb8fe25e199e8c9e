/** The version registry. */
import { versionDiff } from "@flagback/core";
import { aliasOfVersionId, FlagbackError, Name, ReasonBody, RegisterVersionBody } from "@flagback/schemas";
import * as z from "zod";
import { ChangeQuery, change } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";
import { DrillsQuery, listed } from "../drills-query.ts";

const ById = z.object({ id: z.string() });

export function versionRoutes(app: App, context: ServerContext): void {
  app.get(
    "/v1/versions",
    { config: { access: "viewer" }, schema: { querystring: DrillsQuery.extend({ alias: Name.optional() }) } },
    (request) => ({
      versions: listed(context.engine.world.versions.values(), ({ alias }) => alias, request.query).filter(
        (version) => request.query.alias === undefined || version.alias === request.query.alias,
      ),
    }),
  );

  app.get("/v1/versions/:id", { config: { access: "viewer" }, schema: { params: ById } }, (request) =>
    findVersion(context, request.params.id),
  );

  app.get(
    "/v1/versions/:id/diff/:other",
    { config: { access: "viewer" }, schema: { params: z.object({ id: z.string(), other: z.string() }) } },
    (request) => versionDiff(findVersion(context, request.params.id), findVersion(context, request.params.other)),
  );

  app.post(
    "/v1/versions",
    { config: { access: "lead" }, schema: { body: RegisterVersionBody, querystring: ChangeQuery } },
    async (request) => {
      const alias = request.body.alias ?? aliasOfVersionId(request.body.id);
      if (alias === undefined) {
        throw new FlagbackError({
          code: "bad_request",
          message: `${request.body.id} says not which alias it is for.`,
          hint: 'Give "alias", or an id such as support-agent@2.4.0.',
        });
      }
      const answer = await change(context, request, { kind: "registerVersion", version: { ...request.body, alias } });
      return { ...answer, version: findVersion(context, request.body.id) };
    },
  );

  app.post(
    "/v1/versions/:id/retire",
    { config: { access: "lead" }, schema: { params: ById, body: ReasonBody, querystring: ChangeQuery } },
    (request) =>
      change(context, request, { kind: "retireVersion", id: request.params.id, reason: request.body.reason }),
  );
}

function findVersion(context: ServerContext, id: string) {
  const version = context.engine.world.versions.get(id);
  if (version) return version;
  throw new FlagbackError({
    code: "version_not_found",
    message: `Version ${id} is not registered.`,
    hint: "List them with flagback get versions.",
  });
}
