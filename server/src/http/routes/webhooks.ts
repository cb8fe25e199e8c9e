/** Where alerts go, and what became of them. Secrets and addresses come in here and are answered to nobody again. */
import { randomUUID } from "node:crypto";
import { CreateWebhookBody, FlagbackError, type Webhook } from "@flagback/schemas";
import * as z from "zod";
import { deliveryId, rowOfDelivery } from "../../alerts/delivery-id.ts";
import { PAGERDUTY_URL } from "../../alerts/pagerduty.ts";
import { DELIVERY_TIMEOUT_MS } from "../../alerts/post-alert.ts";
import { newSecret } from "../../auth/standard-webhooks.ts";
import type { StoredWebhook } from "../../store/store.ts";
import { administer } from "../changes.ts";
import { type App, actorOf, type ServerContext } from "../context.ts";
import { busy } from "../retry-later.ts";

/** Webhooks of one server: each alert is written once for each of them. */
const MAX_WEBHOOKS = 64;
/** How long the secret before the newest signs as well, so that receivers can change theirs one by one. */
const ROTATION_MS = 86_400_000;
/** Deliveries in one answer. */
const MAX_ROWS = 1_000;

const ById = z.object({ id: z.string() });
const DeliveriesQuery = z.object({
  state: z.enum(["waiting", "delivered", "dead"]).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_ROWS).default(100),
});

export function webhookRoutes(app: App, context: ServerContext): void {
  app.get("/v1/webhooks", { config: { access: "admin" } }, () => ({
    webhooks: [...context.webhooks.values()].map(shown),
  }));

  app.post("/v1/webhooks", { config: { access: "admin" }, schema: { body: CreateWebhookBody } }, (request) =>
    administer(context, request, async (recordOf, at) => {
      const { name, url = PAGERDUTY_URL, format, routingKey } = request.body;
      context.webhookGuard.check(new URL(url));
      const id = name ?? `wh_${randomUUID().slice(0, 8)}`;
      assertFree(context, id);
      const secrets = format === "standard" ? [{ secret: newSecret() }] : [];
      const webhook: StoredWebhook = { id, url, format, createdAt: at, secrets, ...(routingKey && { routingKey }) };
      const summary = `Alerts go to the webhook ${id} too.`;
      const row = { action: "webhook.create", target: `webhook:${id}`, summary };
      await context.store.putWebhook(webhook, recordOf(row, { webhook: shown(webhook), ...LOST_SECRET[format] }));
      context.webhooks.set(id, webhook);
      return { webhook: shown(webhook), ...secrets[0] };
    }),
  );

  app.post("/v1/webhooks/:id/rotate", { config: { access: "admin" }, schema: { params: ById } }, (request) =>
    administer(context, request, async (recordOf, at) => {
      const webhook = findWebhook(context, request.params.id);
      if (webhook.format !== "standard") throw unsigned(webhook);
      const [newest] = webhook.secrets;
      const until = new Date(Date.parse(at) + ROTATION_MS).toISOString();
      const secret = newSecret();
      const rotated = { ...webhook, secrets: [{ secret }, ...(newest ? [{ ...newest, until }] : [])] };
      const summary = `Gave the webhook ${webhook.id} a new secret; the one before signs until ${until}.`;
      const row = { action: "webhook.rotate", target: `webhook:${webhook.id}`, summary };
      await context.store.putWebhook(rotated, recordOf(row, { webhook: shown(webhook), ...LOST_SECRET.standard }));
      context.webhooks.set(webhook.id, rotated);
      return { webhook: shown(webhook), secret, previousUntil: until };
    }),
  );

  const tested = new Set<string>();
  app.post("/v1/webhooks/:id/test", { config: { access: "operator" }, schema: { params: ById } }, async (request) => {
    const webhook = findWebhook(context, request.params.id);
    const { id } = webhook;
    if (tested.has(id)) throw busy(`The webhook ${id} is being tested.`, DELIVERY_TIMEOUT_MS);
    tested.add(id);
    try {
      const summary = `Sent a test alert to the webhook ${id}.`;
      // Before it is sent, because it may call somebody out of bed.
      const row = { action: "webhook.test", target: `webhook:${id}`, actor: actorOf(request.token), summary };
      await context.engine.audit(row);
      context.auditSignal.ring();
      const problem = await context.alerts.test(webhook, `flagback-test-${randomUUID()}`);
      return { delivered: problem === undefined, problem: problem ?? null };
    } finally {
      tested.delete(id);
    }
  });

  app.get(
    "/v1/webhooks/:id/deliveries",
    { config: { access: "viewer" }, schema: { params: ById, querystring: DeliveriesQuery } },
    async (request) => {
      const { id: webhookId } = findWebhook(context, request.params.id);
      const deliveries = await context.store.readDeliveries({ webhookId, ...request.query });
      return { deliveries: deliveries.map((each) => ({ ...each, id: deliveryId(each.id) })) };
    },
  );

  app.post(
    "/v1/webhooks/:id/redeliver",
    {
      config: { access: "operator" },
      schema: { params: ById, body: z.strictObject({ delivery: z.string().optional() }) },
    },
    async (request) => {
      const { id: webhookId } = findWebhook(context, request.params.id);
      const { delivery } = request.body;
      const id = delivery === undefined ? undefined : rowOfDelivery(delivery);
      const answer = await administer(context, request, async (recordOf) => {
        const what = delivery ?? "every dead letter";
        const row = {
          action: "webhook.redeliver",
          target: `webhook:${webhookId}`,
          summary: `Asked for ${what} of the webhook ${webhookId} once more.`,
        };
        const isNone = delivery !== undefined && id === undefined;
        const waiting = isNone
          ? 0
          : await context.store.redeliver(
              { webhookId, id },
              context.now(),
              recordOf(row, { again: delivery ?? "all" }),
            );
        if (waiting === 0 && delivery !== undefined) throw noDeadLetter(webhookId, delivery);
        return { waiting };
      });
      context.alerts.wake();
      return answer;
    },
  );

  app.delete("/v1/webhooks/:id", { config: { access: "admin" }, schema: { params: ById } }, (request) =>
    administer(context, request, async (recordOf) => {
      const { id } = request.params;
      const row = { action: "webhook.delete", target: `webhook:${id}`, summary: `Removed the webhook ${id}.` };
      if (!(await context.store.deleteWebhook(id, recordOf(row, { deleted: id })))) throw webhookNotFound(id);
      context.webhooks.delete(id);
      return { deleted: id };
    }),
  );
}

const LOST_SECRET: Readonly<Record<Webhook["format"], { readonly hint?: string }>> = {
  standard: { hint: "The secret was in the first answer. If that was lost, make another: flagback webhook rotate." },
  slack: {},
  pagerduty: {},
};

/** As anybody may see it. */
function shown({ id, url, format, createdAt }: StoredWebhook): Webhook {
  const { protocol, host } = new URL(url);
  return { id, url: `${protocol}//${host}`, format, createdAt };
}

function findWebhook(context: ServerContext, id: string): StoredWebhook {
  const webhook = context.webhooks.get(id);
  if (webhook) return webhook;
  throw webhookNotFound(id);
}

function assertFree({ webhooks }: ServerContext, id: string): void {
  if (webhooks.has(id)) {
    throw new FlagbackError({
      code: "already_exists",
      message: `There is a webhook ${id} already.`,
      hint: "Choose another name, or remove that one first: flagback webhook remove.",
    });
  }
  if (webhooks.size >= MAX_WEBHOOKS) {
    throw new FlagbackError({
      code: "bad_request",
      message: `There are ${MAX_WEBHOOKS} webhooks, which is the limit.`,
      hint: "Remove one that nobody reads, or let one receiver tell the others.",
    });
  }
}

function webhookNotFound(id: string): FlagbackError {
  return new FlagbackError({
    code: "webhook_not_found",
    message: `There is no webhook ${id}.`,
    hint: "List them with flagback webhook list.",
  });
}

function unsigned({ id, format }: StoredWebhook): FlagbackError {
  return new FlagbackError({
    code: "bad_request",
    message: `${id} is of format ${format}, which is not signed: its address or key is the secret.`,
    hint: "Make a new one with the new address or key, and remove this one.",
  });
}

function noDeadLetter(webhookId: string, delivery: string): FlagbackError {
  return new FlagbackError({
    code: "delivery_not_found",
    message: `${delivery} is no dead letter of the webhook ${webhookId}.`,
    hint: `List them with flagback webhook deliveries ${webhookId} --dead.`,
  });
}
