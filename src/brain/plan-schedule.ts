/**
 * The plans of a replay, by the tick from which they hold.
 */
import { type Plan, planOf } from "./guardrail-test.ts";
import type { Ledger } from "./ledger.ts";
import { guardrailsAt } from "./stage-thresholds.ts";

/** Ascending; the first holds from the beginning of the replay. */
export type PlanSchedule = readonly [PlanPeriod, ...PlanPeriod[]];

interface PlanPeriod {
  readonly fromTick: number;
  readonly plans: readonly Plan[];
}

/** From the prefix on: what is frozen is not gone through again. */
export function scheduleOf(ledger: Ledger): PlanSchedule {
  const { throughTick } = ledger.prefix;
  const later = (ledger.thresholds ?? []).filter(({ tick }) => tick > throughTick);
  return [
    { fromTick: throughTick, plans: guardrailsAt(ledger, throughTick).map(planOf) },
    ...later.map(({ tick, guardrails }) => ({ fromTick: tick, plans: guardrails.map(planOf) })),
  ];
}

export function plansAt(schedule: PlanSchedule, tick: number): readonly Plan[] {
  const [first] = schedule;
  if (schedule.length === 1) return first.plans;
  return (schedule.findLast(({ fromTick }) => fromTick <= tick) ?? first).plans;
}
