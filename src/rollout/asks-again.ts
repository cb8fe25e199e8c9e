/**
 * When people who have answered are asked again: once the evidence has doubled.
 */
import type { GuardrailEvidence } from "@flagback/schemas";

/**
 * Whether the evidence of the guardrails that ask has doubled since people were asked. For statistics that is twice the log of
 * the weighted sum, so a candidate that keeps its limits reaches it with a probability of about alpha squared, however long the
 * rollout goes on. An event that may never happen must have happened twice as often, and a budget must be spent twice.
 */
export function hasDoubled(before: readonly GuardrailEvidence[], now: readonly GuardrailEvidence[]): boolean {
  const threshold = now[0]?.threshold ?? Number.POSITIVE_INFINITY;
  if (askingLogE(now) >= 2 * Math.max(threshold, askingLogE(before))) return true;
  return now.some(({ guardrail, mode, kind, k, limit = 0 }) => {
    if (mode !== "approval") return false;
    const then = before.find((each) => each.guardrail === guardrail)?.k ?? 0;
    if (kind === "critical") return k >= Math.max(1, 2 * then);
    return kind === "budget" && k >= 2 * Math.max(limit, then);
  });
}

/** Log of the weighted sum over the guardrails that ask; `-Infinity` without one that is a statistic. */
function askingLogE(evidence: readonly GuardrailEvidence[]): number {
  const terms = evidence
    .filter(({ mode, kind, share }) => mode === "approval" && kind !== "critical" && kind !== "budget" && share > 0)
    .map(({ logE, share }) => logE + Math.log(share));
  const most = Math.max(...terms);
  if (!Number.isFinite(most)) return Number.NEGATIVE_INFINITY;
  return most + Math.log(terms.reduce((sum, term) => sum + Math.exp(term - most), 0));
}
