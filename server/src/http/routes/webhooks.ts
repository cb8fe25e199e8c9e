/** Where alerts go. */
import { randomUUID } from "node:crypto";
import { CreateWebhookBody, FlagbackError, type Webhook } from "@flagback/schemas";
import * as z from "zod";
import { type App, actorOf, type ServerContext } from "../context.ts";

export function webhookRoutes(app: App, context: ServerContext): void {
  app.get("/v1/webhooks", { config: { access: "admin" } }, () => ({ webhooks: [...context.webhooks.values()] }));

  app.post("/v1/webhooks", { config: { access: "admin" }, schema: { body: CreateWebhookBody } }, async (request) => {
    const webhook: Webhook = {
      id: `wh_${randomUUID().slice(0, 8)}`,
      url: request.body.url,
      createdAt: new Date(context.now()).toISOString(),
    };
    await context.store.putWebhook(webhook);
    context.webhooks.set(webhook.id, webhook);
    await audit(request.token, "webhook.create", webhook.id, `Alerts go to the webhook ${webhook.id} too.`);
    return { webhook };
  });

  app.delete(
    "/v1/webhooks/:id",
    { config: { access: "admin" }, schema: { params: z.object({ id: z.string() }) } },
    async (request) => {
      const { id } = request.params;
      if (!(await context.store.deleteWebhook(id))) {
        throw new FlagbackError({
          code: "webhook_not_found",
          message: `There is no webhook ${id}.`,
          hint: "List them with flagback webhook list.",
        });
      }
      context.webhooks.delete(id);
      await audit(request.token, "webhook.delete", id, `Removed the webhook ${id}.`);
      return { deleted: id };
    },
  );

  async function audit(
    token: Parameters<typeof actorOf>[0],
    action: string,
    id: string,
    summary: string,
  ): Promise<void> {
    await context.engine.audit({ actor: actorOf(token), action, target: `webhook:${id}`, summary });
    context.auditSignal.ring();
  }
}
