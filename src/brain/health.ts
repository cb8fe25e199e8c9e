/**
 * Whether an arm is proven healthy (BRAIN 2.7): the reverse test of every statistical guardrail, over the ticks before the
 * first one with a pending run, because a run that has not reported yet is no evidence of health.
 */
import { isStatistical } from "./compiled.ts";
import { type Arm, pendingOf } from "./counts.ts";
import { MILLIONTHS } from "./detector.ts";
import { badOf, judgedOf, planOf } from "./guardrail-test.ts";
import type { Ledger } from "./ledger.ts";
import type { Totals } from "./prefix.ts";
import { HEALTHY_LOG_E, reverseLogE } from "./recovery.ts";
import { countedSince, guardrailsInForce } from "./stage-thresholds.ts";

/** How well a guardrail is proven kept; `null` logE for one that is no statistic. */
export interface Health {
  readonly guardrail: string;
  /** Outcomes that say something about it, none of them pending. */
  readonly n: number;
  readonly k: number;
  /** Log of the reverse e-value. */
  readonly logE: number | null;
  /** The proof is complete; of a critical event, none happened. A budget is always healthy until it is spent. */
  readonly isHealthy: boolean;
}

/** Each guardrail's health on an arm, by the thresholds in force. After a rollback the ledger takes no more counts: prove recovery on a new one. */
export function healthOf(ledger: Ledger, arm: Arm): Health[] {
  const open = ledger.ticks.findIndex(({ arms }) => pendingOf(arms[arm].total) > 0);
  const settled = open === -1 ? ledger.ticks : ledger.ticks.slice(0, open);
  return guardrailsInForce(ledger).map((guardrail, g) => {
    const plan = planOf(guardrail);
    const sinceTick = countedSince(ledger, g);
    const counted = settled.filter(({ tick }) => tick >= sinceTick);
    const totals = sinceTick > ledger.prefix.throughTick ? NOTHING : frozenTotals(ledger, g, arm);
    const n = counted.reduce((sum, { arms }) => sum + judgedOf(plan, g, arms[arm].total), totals.n);
    const k = counted.reduce((sum, { arms }) => sum + badOf(plan, g, arms[arm].total), totals.bad) / MILLIONTHS;
    if (!isStatistical(guardrail)) {
      return { guardrail: guardrail.name, n, k, logE: null, isHealthy: guardrail.kind === "budget" || k === 0 };
    }
    const logE = reverseLogE(guardrail.p0, n, k);
    return { guardrail: guardrail.name, n, k, logE, isHealthy: logE >= HEALTHY_LOG_E };
  });
}

const NOTHING: Readonly<Totals> = { n: 0, bad: 0 };

/** Of the frozen ticks, what the threshold in force counts. */
function frozenTotals(ledger: Ledger, g: number, arm: Arm): Readonly<Totals> {
  const { totals, before } = ledger.prefix.guardrails[g] ?? {};
  const { n, bad } = totals?.[arm] ?? NOTHING;
  const earlier = before?.[arm] ?? NOTHING;
  return { n: n - earlier.n, bad: bad - earlier.bad };
}

/** Whether every guardrail that can decide is proven kept. Guardrails that only observe don't hold a rollout up. */
export function isHealthy(ledger: Ledger, arm: Arm): boolean {
  return healthOf(ledger, arm).every(({ isHealthy }, g) => isHealthy || ledger.guardrails[g]?.mode === "observe");
}
