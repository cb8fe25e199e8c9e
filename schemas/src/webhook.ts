/**
 * Where alerts go.
 */
import * as z from "zod";
import { Timestamp } from "./primitives.ts";

/** How a receiver wants alerts: as Standard Webhooks (signed), as messages for Slack, or as events for PagerDuty. */
export const WebhookFormat = z.enum(["standard", "slack", "pagerduty"]);
export type WebhookFormat = z.infer<typeof WebhookFormat>;

/** Where alerts go, without its secrets. */
export const Webhook = z.strictObject({
  id: z.string(),
  /** Answered as scheme and host only: what follows may be a secret. */
  url: z.url({ protocol: /^https?$/ }),
  format: WebhookFormat,
  createdAt: Timestamp,
});
export type Webhook = z.infer<typeof Webhook>;
