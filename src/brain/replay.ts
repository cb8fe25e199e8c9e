/**
 * Replays a ledger's open ticks from its prefix, in order. Judging and freezing are this one walk.
 */
import { stepCount } from "./budget.ts";
import type { CompiledGuardrail } from "./compiled.ts";
import { type Group, groupsOf } from "./consequence.ts";
import { ARMS, type Arm, pendingOf } from "./counts.ts";
import { logSpent, logThreshold } from "./detector.ts";
import { addExposureLump, type ExposurePlan, endExposure, exposurePlanOf, stepExposure } from "./exposure.ts";
import { addGuardrailLumps, endGuardrail, type Plan, stepGuardrail } from "./guardrail-test.ts";
import { newOthers, type Others } from "./leave-one-out.ts";
import { isClosed, type Ledger } from "./ledger.ts";
import type { TickCounts } from "./ledger-ticks.ts";
import { type PlanSchedule, plansAt, scheduleOf } from "./plan-schedule.ts";
import type { GuardrailState, LedgerPrefix, Totals } from "./prefix.ts";
import { guardrailsAt, isSameBadness } from "./stage-thresholds.ts";

/** A replay under way. */
export interface Replay {
  readonly ledger: Ledger;
  readonly schedule: PlanSchedule;
  /** Those of the tick that was last multiplied in. */
  plans: readonly Plan[];
  readonly groups: readonly Group[];
  readonly exposurePlan: ExposurePlan;
  /** ln(C / alpha). */
  readonly threshold: number;
  readonly state: LedgerPrefix;
  /** For each arm, each guardrail's totals before the first tick with a pending run; `null` while there is none. */
  readonly settled: Record<Arm, Totals[] | null>;
  others: Others | null;
}

/** `state` is changed; it may be the ledger's own prefix. */
export function newReplay(ledger: Ledger, state: LedgerPrefix): Replay {
  const schedule = scheduleOf(ledger);
  return {
    ledger,
    schedule,
    plans: plansAt(schedule, state.throughTick),
    groups: groupsOf(ledger.guardrails),
    exposurePlan: exposurePlanOf(ledger.expected),
    threshold: logThreshold(ledger.alpha, ledger.stages),
    state,
    settled: { candidate: null, stable: null },
    others: null,
  };
}

/** The others of every runtime, made when first asked for. A replay that changes the prefix asks before it begins. */
export function othersOf(replay: Replay): Others {
  replay.others ??= newOthers(replay.ledger, replay.schedule);
  return replay.others;
}

/** Multiplies a tick in, up to where it is decided on. */
export function multiplyTick(replay: Replay, counts: TickCounts): void {
  const { ledger, schedule, exposurePlan, state, settled } = replay;
  beginStagesThrough(ledger, state, counts.tick);
  const plans = plansAt(schedule, counts.tick);
  replay.plans = plans;
  const candidate = counts.arms.candidate.total;
  const stable = counts.arms.stable.total;
  for (const arm of ARMS) {
    if (settled[arm] !== null || pendingOf(counts.arms[arm].total) === 0) continue;
    settled[arm] = state.guardrails.map(({ totals }) => ({ ...totals[arm] }));
  }
  const tick = { tick: counts.tick, isClosed: isClosed(ledger, counts.tick), candidate, stable };
  for (let g = 0; g < plans.length; g++) {
    // Both have one entry for each guardrail.
    const plan = plans[g] as Plan;
    const guardrail = state.guardrails[g] as GuardrailState;
    if (plan.isTested) stepGuardrail(plan, g, guardrail, tick);
    else stepCount(guardrail, g, counts.tick, candidate);
  }
  stepExposure(exposurePlan, state.exposure, tick);
  state.tick = counts.tick;
  state.throughTick = counts.tick;
}

/** Places the restarts that the tick's assignments pay for: they bet from the next outcome on. */
export function endTick({ state }: Replay, { arms }: TickCounts): void {
  const candidate = arms.candidate.total.assigned;
  const stable = arms.stable.total.assigned;
  const logWeight = logSpent(state.assigned.candidate, candidate);
  const stableLogWeight = logSpent(state.assigned.stable, stable);
  for (const guardrail of state.guardrails) endGuardrail(guardrail, logWeight, stableLogWeight);
  endExposure(state.exposure, Math.exp(logWeight));
  state.assigned.candidate += candidate;
  state.assigned.stable += stable;
}

/** Adds the lumps, and notes the thresholds, of stages that began after the last tick gone through and not after `tick`. */
export function beginStagesThrough(ledger: Ledger, state: LedgerPrefix, tick: number): void {
  for (const change of ledger.thresholds ?? []) {
    if (change.tick <= state.throughTick || change.tick > tick) continue;
    const earlier = guardrailsAt(ledger, change.tick - 1);
    state.guardrails.forEach((guardrail, g) => {
      // All have one entry for each guardrail.
      if (isSameBadness(earlier[g] as CompiledGuardrail, change.guardrails[g] as CompiledGuardrail)) return;
      const { candidate, stable } = guardrail.totals;
      guardrail.before = { candidate: { ...candidate }, stable: { ...stable } };
    });
  }
  for (const lumpTick of ledger.lumpTicks) {
    if (lumpTick <= state.throughTick || lumpTick > tick) continue;
    state.guardrails.forEach(addGuardrailLumps);
    addExposureLump(state.exposure);
  }
}
