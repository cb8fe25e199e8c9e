/** Releases, and the rollback of what shipped together. */
import { FlagbackError, Name, PutReleaseBody, RollbacksBody } from "@flagback/schemas";
import * as z from "zod";
import { ChangeQuery, change, withETag } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";

export function releaseRoutes(app: App, context: ServerContext): void {
  app.get("/v1/releases", { config: { access: "viewer" } }, () => ({
    releases: [...context.engine.world.releases.values()],
  }));

  app.get(
    "/v1/releases/:name",
    { config: { access: "viewer" }, schema: { params: z.object({ name: z.string() }) } },
    (request, reply) => {
      const release = context.engine.world.releases.get(request.params.name);
      if (release) return withETag(reply, release);
      throw new FlagbackError({
        code: "release_not_found",
        message: `There is no release ${request.params.name}.`,
        hint: "List them with flagback get releases.",
      });
    },
  );

  app.put(
    "/v1/releases/:name",
    {
      config: { access: "lead" },
      schema: { params: z.object({ name: Name }), body: PutReleaseBody, querystring: ChangeQuery },
    },
    (request) => change(context, request, { kind: "putRelease", name: request.params.name, ...request.body }),
  );

  // More than one alias at once is more than the on-call decides alone.
  app.post(
    "/v1/rollbacks",
    { config: { access: "lead" }, schema: { body: RollbacksBody, querystring: ChangeQuery } },
    (request) => change(context, request, { kind: "rollbackTogether", ...request.body }),
  );
}
