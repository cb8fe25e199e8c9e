/**
 * What a receiver is sent for an alert, in the form that it understands. The same alert gives the same body at each attempt.
 */
import type { StoredWebhook } from "../store/store.ts";
import type { Fact } from "./fact.ts";
import { pagerDutyEvent } from "./pagerduty.ts";
import { slackMessage } from "./slack.ts";

export function payloadOf(
  { format, routingKey = "" }: Pick<StoredWebhook, "format" | "routingKey">,
  fact: Fact,
): object {
  switch (format) {
    case "standard":
      return fact;
    case "slack":
      return slackMessage(fact);
    case "pagerduty":
      return pagerDutyEvent(fact, routingKey);
  }
}
