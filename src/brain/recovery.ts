/**
 * The reverse e-process (BRAIN 2.7): evidence that a guardrail is kept. It proves recovery after a rollback and, on a
 * candidate, that a stage is healthy.
 */
import { logSumExp } from "./detector.ts";

/** The rates that are bet on, as parts of p0, with equal weights. */
const HEALTHY_PARTS = [0.01, 0.1, 0.3, 0.6] as const;
const LOG_WEIGHT = -Math.log(HEALTHY_PARTS.length);

/** A proof needs at least this logE: ln(1 / 0.05). */
export const HEALTHY_LOG_E = Math.log(20);

/**
 * logE against "the badness rate is at least p0" after `n` outcomes of total badness `k`. Runs without an outcome are no
 * evidence of health: leave them out, or count them as bad; never as good, as the detector does.
 */
export function reverseLogE(p0: number, n: number, k: number): number {
  return logSumExp(
    HEALTHY_PARTS.map((part) => {
      const whenBad = Math.log(part);
      const whenGood = Math.log1p(-part * p0) - Math.log1p(-p0);
      return LOG_WEIGHT + k * whenBad + (n - k) * whenGood;
    }),
  );
}

/** Whether the outcomes prove, at 5 %, that the guardrail is kept. */
export function isProvenHealthy(p0: number, n: number, k: number): boolean {
  return reverseLogE(p0, n, k) >= HEALTHY_LOG_E;
}
