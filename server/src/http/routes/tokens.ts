/** Tokens: made once, listed without secrets, revoked at once. */
import { CreateTokenBody } from "@flagback/schemas";
import * as z from "zod";
import { type App, actorOf, type ServerContext } from "../context.ts";

export function tokenRoutes(app: App, context: ServerContext): void {
  const audit = (
    request: { readonly token: Parameters<typeof actorOf>[0] },
    action: string,
    target: string,
    summary: string,
  ) =>
    context.engine
      .audit({ actor: actorOf(request.token), action, target, summary })
      .then(() => context.auditSignal.ring());

  app.get("/v1/tokens", { config: { access: "admin" } }, () => ({ tokens: context.tokens.list() }));

  app.post("/v1/tokens", { config: { access: "admin" }, schema: { body: CreateTokenBody } }, async (request) => {
    const created = await context.tokens.create(
      request.body,
      request.token.name,
      new Date(context.now()).toISOString(),
    );
    const { id, role, name } = created.token;
    await audit(request, "token.create", `token:${id}`, `Created the ${role} token ${name}.`);
    return created;
  });

  app.delete(
    "/v1/tokens/:id",
    { config: { access: "admin" }, schema: { params: z.object({ id: z.string() }) } },
    async (request) => {
      const token = await context.tokens.revoke(request.params.id, new Date(context.now()).toISOString());
      context.hub.revoke(token.id);
      await audit(request, "token.revoke", `token:${token.id}`, `Revoked the ${token.role} token ${token.name}.`);
      return { token };
    },
  );
}
