/**
 * What the gate looks at beside the documents, read from the ledger.
 */
import { type DrillPass, type GateFacts, HEALTHY_LOG_E, healthOf, isHealthy, type Ledger } from "@flagback/core";

/** Without a ledger nothing is proven. */
export function gateFacts(ledger: Ledger | undefined, drills: readonly DrillPass[]): GateFacts {
  if (!ledger) return { isHealthy: false, drills };
  const unproven = healthOf(ledger, "candidate").flatMap(({ guardrail, n, k, logE, isHealthy: isProven }, g) => {
    if (isProven || ledger.guardrails[g]?.mode === "observe") return [];
    const evidence = logE === null ? "" : `, evidence ${logE.toFixed(2)} of ${HEALTHY_LOG_E.toFixed(2)}`;
    return [`${guardrail}: ${n} runs, ${Number(k.toFixed(2))} bad${evidence}`];
  });
  return { isHealthy: isHealthy(ledger, "candidate"), unproven, drills };
}
