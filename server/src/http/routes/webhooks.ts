/** Where alerts go. */
import { randomUUID } from "node:crypto";
import { CreateWebhookBody, FlagbackError, type Webhook } from "@flagback/schemas";
import * as z from "zod";
import { administer } from "../changes.ts";
import type { App, ServerContext } from "../context.ts";

export function webhookRoutes(app: App, context: ServerContext): void {
  app.get("/v1/webhooks", { config: { access: "admin" } }, () => ({ webhooks: [...context.webhooks.values()] }));

  app.post("/v1/webhooks", { config: { access: "admin" }, schema: { body: CreateWebhookBody } }, (request) =>
    administer(context, request, async (recordOf, at) => {
      context.webhookGuard.check(new URL(request.body.url));
      const webhook: Webhook = { id: `wh_${randomUUID().slice(0, 8)}`, url: request.body.url, createdAt: at };
      const summary = `Alerts go to the webhook ${webhook.id} too.`;
      const row = { action: "webhook.create", target: `webhook:${webhook.id}`, summary };
      await context.store.putWebhook(webhook, recordOf(row, { webhook }));
      context.webhooks.set(webhook.id, webhook);
      return { webhook };
    }),
  );

  app.delete(
    "/v1/webhooks/:id",
    { config: { access: "admin" }, schema: { params: z.object({ id: z.string() }) } },
    (request) =>
      administer(context, request, async (recordOf) => {
        const { id } = request.params;
        const row = { action: "webhook.delete", target: `webhook:${id}`, summary: `Removed the webhook ${id}.` };
        if (!(await context.store.deleteWebhook(id, recordOf(row, { deleted: id })))) {
          throw new FlagbackError({
            code: "webhook_not_found",
            message: `There is no webhook ${id}.`,
            hint: "List them with flagback webhook list.",
          });
        }
        context.webhooks.delete(id);
        return { deleted: id };
      }),
  );
}
