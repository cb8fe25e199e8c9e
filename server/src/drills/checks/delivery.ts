/**
 * Whether alerts reach the webhooks.
 */
import type { AlertDelivery } from "@flagback/schemas";
import type { Finding } from "./finding.ts";

/** `webhooks` is how many there are. Each must have taken every alert that was raised. */
export function deliveryFinding(deliveries: readonly AlertDelivery[], webhooks: number): Finding {
  if (webhooks === 0) return { isMet: true, why: "no webhook is configured, so nobody is told by flagback itself" };
  if (deliveries.length === 0) return { isMet: false, why: "no alert was put on its way" };
  const waiting = deliveries.filter(({ deliveredAt }) => deliveredAt === null);
  const first = waiting[0];
  if (first) {
    const error = first.error === null ? "it was not tried yet" : first.error;
    return {
      isMet: false,
      why: `${waiting.length} of ${deliveries.length} alerts were not taken; webhook ${first.webhook}, tried ${first.attempts} times: ${error}`,
    };
  }
  return { isMet: true, why: `${webhooks} of ${webhooks} webhooks took ${deliveries.length} alerts` };
}
