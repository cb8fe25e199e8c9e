/**
 * An alert as an event for PagerDuty's Events API v2. All events of one incident of ours bear its id as `dedup_key`, so they
 * are one incident there: opened by the rollback, acknowledged and resolved by what follows.
 */
import { incidentIdOf } from "@flagback/core";
import type { Fact } from "./fact.ts";

/** Where events go unless a webhook names another address, such as the one for the EU. */
export const PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue";
/** Characters of a summary. */
const MAX_SUMMARY_LENGTH = 1_024;

type Severity = "critical" | "error" | "warning" | "info";
type Event =
  | { readonly action: "trigger"; readonly severity: Severity }
  | { readonly action: "acknowledge" | "resolve" };

/** `critical` is what flagback can't settle by itself. */
export const PAGERDUTY_EVENTS: Readonly<Record<Fact["kind"], Event>> = {
  rollback: { action: "trigger", severity: "error" },
  stop: { action: "trigger", severity: "critical" },
  hold: { action: "trigger", severity: "warning" },
  approval: { action: "trigger", severity: "error" },
  rejected: { action: "resolve" },
  continued: { action: "resolve" },
  bypass: { action: "trigger", severity: "info" },
  unverified: { action: "trigger", severity: "warning" },
  not_recovered: { action: "trigger", severity: "critical" },
  acknowledged: { action: "acknowledge" },
  recovered: { action: "resolve" },
  closed: { action: "resolve" },
  test: { action: "trigger", severity: "info" },
};

export function pagerDutyEvent(fact: Fact, routingKey: string): object {
  const { kind, text, alias, incident, timestamp, link } = fact;
  const event = PAGERDUTY_EVENTS[kind];
  const addressed = { routing_key: routingKey, event_action: event.action, dedup_key: dedupKeyOf(fact) };
  if (event.action !== "trigger") return addressed;
  return {
    ...addressed,
    payload: {
      summary: shortened(text),
      source: "flagback",
      // A rehearsal wakes nobody.
      severity: fact.drill ? "info" : event.severity,
      timestamp,
      class: kind,
      ...(alias === undefined ? {} : { component: alias }),
      custom_details: {
        text,
        ...(alias === undefined ? {} : { alias }),
        ...(incident === undefined ? {} : { incident }),
      },
    },
    client: "flagback",
    ...(link === undefined ? {} : { links: [{ href: link, text: "Answer" }] }),
  };
}

/** A decision is the incident that it becomes where it is approved. What belongs to none is one of its kind and alias. */
function dedupKeyOf({ kind, alias, incident, decision }: Fact): string {
  if (incident === undefined && decision !== undefined) return incidentIdOf(decision);
  return incident ?? ["flagback", kind, ...(alias === undefined ? [] : [alias])].join(":");
}

function shortened(text: string): string {
  const characters = [...text];
  return characters.length <= MAX_SUMMARY_LENGTH ? text : `${characters.slice(0, MAX_SUMMARY_LENGTH - 1).join("")}…`;
}
