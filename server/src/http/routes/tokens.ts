/** Tokens: made once, listed without secrets, revoked at once. */
import { triggerNotFound } from "@flagback/core";
import { CreateTokenBody, FlagbackError } from "@flagback/schemas";
import * as z from "zod";
import { administer } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";

export function tokenRoutes(app: App, context: ServerContext): void {
  app.get("/v1/tokens", { config: { access: "admin" } }, () => ({ tokens: context.tokens.list() }));

  app.post("/v1/tokens", { config: { access: "admin" }, schema: { body: CreateTokenBody } }, (request) =>
    administer(context, request, async (recordOf, at) => {
      const { trigger } = request.body;
      if (trigger !== undefined && !context.engine.world.triggers.has(trigger)) {
        throw new FlagbackError(triggerNotFound(trigger));
      }
      return context.tokens.create(request.body, request.token.name, at, (token) =>
        recordOf(
          {
            action: "token.create",
            target: `token:${token.id}`,
            summary: `Created the ${token.role} token ${token.name}.`,
          },
          {
            token,
            hint: "The secret was in the first answer and is kept nowhere. If that was lost, revoke this token and create another.",
          },
        ),
      );
    }),
  );

  app.delete(
    "/v1/tokens/:id",
    { config: { access: "admin" }, schema: { params: z.object({ id: z.string() }) } },
    async (request) => {
      const answer = await administer(context, request, async (recordOf, at) => ({
        token: await context.tokens.revoke(request.params.id, at, (token) =>
          recordOf(
            {
              action: "token.revoke",
              target: `token:${token.id}`,
              summary: `Revoked the ${token.role} token ${token.name}.`,
            },
            { token },
          ),
        ),
      }));
      context.hub.revoke(answer.token.id);
      return answer;
    },
  );
}
