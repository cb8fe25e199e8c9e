/**
 * Judges alerts: one for each fact, and it comes. A delivery that is repeated bears the same id. Pure.
 */
import type { ChaosEvent, DatabaseFacts, Violation } from "./history.ts";

type Alerted = Extract<ChaosEvent, { kind: "alerted" }>;

/** @param before ids under which each fact was told in earlier rounds */
export function checkAlerts(
  before: ReadonlyMap<string, string>,
  deliveries: readonly Alerted[],
  facts: DatabaseFacts,
): { readonly violations: readonly Violation[]; readonly told: ReadonlyMap<string, string> } {
  const violations: Violation[] = [];
  const told = new Map(before);
  for (const { id, alert, incident, text } of deliveries) {
    // A stop is its operator's request, which the text names.
    const fact = `${alert} ${incident ?? text}`;
    const earlier = told.get(fact);
    if (earlier !== undefined && earlier !== id) {
      violations.push({ rule: "second_alert", detail: `${fact} came as ${earlier} and as ${id}` });
    }
    told.set(fact, id);
  }
  const delivered = new Set(deliveries.map(({ id }) => id));
  for (const { id, alert, incident } of facts.alerts) {
    if (!delivered.has(id))
      violations.push({ rule: "alert_missing", detail: `${id} (${alert} ${incident ?? ""}) did not come` });
  }
  return { violations, told };
}
