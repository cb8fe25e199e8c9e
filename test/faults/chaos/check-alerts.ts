/**
 * Judges alerts: one for each fact, in order for each incident, and it comes. A delivery that is repeated bears the same id. Pure.
 */
import type { ChaosEvent, DatabaseFacts, Violation } from "./history.ts";

type Alerted = Extract<ChaosEvent, { kind: "alerted" }>;

/** What an operator asked for: each request is a fact of its own, which the text names by its reason. */
const ASKED_FOR: ReadonlySet<string> = new Set(["stop", "bypass"]);

/** @param before ids under which each fact was told in earlier rounds */
export function checkAlerts(
  before: ReadonlyMap<string, string>,
  deliveries: readonly Alerted[],
  facts: DatabaseFacts,
): { readonly violations: readonly Violation[]; readonly told: ReadonlyMap<string, string> } {
  const violations: Violation[] = [];
  const told = new Map(before);
  for (const { id, alert, incident, text } of deliveries) {
    const fact = `${alert} ${incident === null || ASKED_FOR.has(alert) ? text : incident}`;
    const earlier = told.get(fact);
    if (earlier !== undefined && earlier !== id) {
      violations.push({ rule: "second_alert", detail: `${fact} came as ${earlier} and as ${id}` });
    }
    told.set(fact, id);
  }
  violations.push(...outOfOrder(deliveries));
  const delivered = new Set(deliveries.map(({ id }) => id));
  for (const { id, alert, incident } of facts.alerts) {
    if (!delivered.has(id))
      violations.push({ rule: "alert_missing", detail: `${id} (${alert} ${incident ?? ""}) did not come` });
  }
  return { violations, told };
}

/** Ids grow as alerts are raised. One that was told already may be told again, where the server did not live to note it. */
function outOfOrder(deliveries: readonly Alerted[]): Violation[] {
  const violations: Violation[] = [];
  const seen = new Set<string>();
  const newest = new Map<string, number>();
  for (const { id, alert, incident } of deliveries) {
    if (incident === null || seen.has(id)) continue;
    seen.add(id);
    const number = Number(id.replace("flagback-", ""));
    const before = newest.get(incident) ?? 0;
    if (number < before) {
      violations.push({
        rule: "alert_out_of_order",
        detail: `${id} (${alert} ${incident}) came after flagback-${before}`,
      });
    }
    newest.set(incident, Math.max(before, number));
  }
  return violations;
}
