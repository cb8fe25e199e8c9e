/**
 * Audit events for people.
 */
import type { AuditEvent } from "@flagback/schemas";
import { moment, table } from "./text.ts";

export function eventTable(events: readonly AuditEvent[]): string {
  return table(
    ["ID", "WHEN (UTC)", "WHO", "WHAT", "TARGET", "SUMMARY"],
    events.map((event) => [
      String(event.id),
      moment(event.timestamp),
      event.actor.name,
      event.action,
      event.target,
      summaryOf(event),
    ]),
    "No events.",
  );
}

/** One event on one line. */
export function eventLine(event: AuditEvent): string {
  const { timestamp, actor, action, target } = event;
  return `${moment(timestamp)}  ${actor.name}  ${action}  ${target}  ${summaryOf(event)}`;
}

/** With how far it has spread, once that is known. */
function summaryOf({ summary, switchStatus }: AuditEvent): string {
  return switchStatus === undefined || switchStatus === "pending" ? summary : `${summary} [${switchStatus}]`;
}
