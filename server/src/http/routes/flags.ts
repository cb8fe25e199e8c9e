/** Any other flag, in flagd's format. */
import { FlagbackError, Name, PutFlagBody } from "@flagback/schemas";
import * as z from "zod";
import { ChangeQuery, change, withETag } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";

const ByKey = z.object({ key: z.string() });

export function flagRoutes(app: App, context: ServerContext): void {
  app.get("/v1/flags", { config: { access: "viewer" } }, () => ({ flags: [...context.engine.world.flags.values()] }));

  app.get("/v1/flags/:key", { config: { access: "viewer" }, schema: { params: ByKey } }, (request, reply) => {
    const flag = context.engine.world.flags.get(request.params.key);
    if (flag) return withETag(reply, flag);
    throw new FlagbackError({
      code: "flag_not_found",
      message: `There is no flag ${request.params.key}.`,
      hint: "List them with flagback get flags.",
    });
  });

  app.put(
    "/v1/flags/:key",
    {
      config: { access: "lead" },
      schema: { params: z.object({ key: Name }), body: PutFlagBody, querystring: ChangeQuery },
    },
    (request) => change(context, request, { kind: "putFlag", key: request.params.key, definition: request.body }),
  );

  app.delete(
    "/v1/flags/:key",
    { config: { access: "lead" }, schema: { params: ByKey, querystring: ChangeQuery } },
    (request) => change(context, request, { kind: "deleteFlag", key: request.params.key }),
  );
}
