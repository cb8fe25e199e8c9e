/**
 * How each guardrail stands, for people and for the record. Read before the tick's restarts: that is what was decided on.
 */
import type { GuardrailEvidence } from "@flagback/schemas";
import { MICRODOLLARS } from "./badness.ts";
import { spentInHour } from "./budget.ts";
import { healthLogE } from "./decide.ts";
import { logEvidence, MILLIONTHS } from "./detector.ts";
import type { Plan } from "./guardrail-test.ts";
import type { GuardrailState } from "./prefix.ts";
import { relativeLogE } from "./relative.ts";
import type { Replay } from "./replay.ts";
import { startOf } from "./start-estimate.ts";

export function evidenceOf(replay: Replay): GuardrailEvidence[] {
  // Both have one entry for each guardrail.
  return replay.plans.map((plan, g) => evidenceOfOne(replay, plan, g, replay.state.guardrails[g] as GuardrailState));
}

function evidenceOfOne(replay: Replay, plan: Plan, g: number, state: GuardrailState): GuardrailEvidence {
  const { guardrail } = plan;
  const { name, kind, p0, share, mode, action, limitMs, limit = limitMs, relative } = guardrail;
  const common = {
    guardrail: name,
    kind,
    mode,
    action,
    p0,
    share,
    threshold: replay.threshold,
    ...(limit === undefined ? {} : { limit }),
  };
  const { n } = state.totals.candidate;
  if (kind === "budget") {
    const k = spentInHour(state) / MICRODOLLARS;
    return { ...common, n, k, rate: limit ? k / limit : 0, logE: 0 };
  }
  const k = state.totals.candidate.bad / MILLIONTHS;
  const counted = { ...common, n, k, rate: rateOf(n, k) };
  if (!plan.isTested) return { ...counted, logE: 0 };

  const start = startOf(state.start as NonNullable<typeof state.start>);
  const badSince = state.totals.candidate.bad - (start?.bad ?? 0);
  const stable = state.totals.stable;
  return {
    ...counted,
    logE: state.logE,
    // An observed guardrail would need it all.
    neededLogE: replay.threshold - (share > 0 ? plan.logShare : 0),
    ...(start === null ? {} : { startTick: start.tick, since: { n: n - start.n, k: badSince / MILLIONTHS } }),
    ...(relative === undefined ? {} : { maxOddsRatio: relative.maxOddsRatio, floor: relative.floor }),
    relativeLogE: state.relative === null ? 0 : relativeLogE(state.relative),
    healthLogE: healthLogE(replay, "candidate", g),
    stable: {
      n: stable.n,
      k: stable.bad / MILLIONTHS,
      rate: rateOf(stable.n, stable.bad / MILLIONTHS),
      ...(state.stable.length === 0 ? {} : { logE: logEvidence(state.stable) }),
      healthLogE: healthLogE(replay, "stable", g),
    },
  };
}

function rateOf(n: number, k: number): number {
  return n === 0 ? 0 : k / n;
}
