/**
 * What follows from a tick: the order of the rules (BRAIN 2.7).
 */
import type { Attribution, StopReason } from "@flagback/schemas";
import { MICRODOLLARS } from "./badness.ts";
import { spentInHour } from "./budget.ts";
import type { Group } from "./consequence.ts";
import type { Arm } from "./counts.ts";
import { logEvidence, MILLIONTHS } from "./detector.ts";
import type { Plan } from "./guardrail-test.ts";
import { askOthers, type OthersVerdict } from "./leave-one-out.ts";
import type { GuardrailState } from "./prefix.ts";
import { HEALTHY_LOG_E, reverseLogE } from "./recovery.ts";
import { othersOf, type Replay } from "./replay.ts";

/** A comparison with stable at this evidence says that a breach is the candidate's own (BRAIN 2.7: ln(1 / 0.2)). */
const OWN_CAUSE_LOG_E = Math.log(5);

/** Where the rules lead for one consequence. `leading` is the index of a guardrail. */
export type Exit =
  | { readonly kind: "allow" }
  | { readonly kind: "held_back"; readonly leading: number; readonly others: OthersVerdict }
  | { readonly kind: "shared"; readonly leading: number; readonly others: OthersVerdict }
  | {
      readonly kind: "stop";
      readonly reason: StopReason;
      readonly attribution: Attribution;
      readonly leading: number;
      readonly others: OthersVerdict;
    };

const UNASKED: OthersVerdict = { carriers: [] };

/** The exit for one consequence at the open tick `index`, multiplied in and not yet ended; `logE` is its weighted sum there. */
export function decide(replay: Replay, index: number, group: Group, logE: number): Exit {
  const { threshold } = replay;
  const own = { attribution: "candidate", others: UNASKED } as const;

  const event = group.critical.find((g) => stateOf(replay, g).totals.candidate.bad > 0);
  if (event !== undefined) return { kind: "stop", reason: "rollback_required", leading: event, ...own };

  const spent = group.budgets.find((g) => isBudgetSpent(replay, g));
  if (spent !== undefined) return { kind: "stop", reason: "rollback_required", leading: spent, ...own };

  if (logE < threshold) return { kind: "allow" };
  const leading = heaviestOf(replay, group.tested) as number;

  const others = askOthers(othersOf(replay), index, group.tested, leading, threshold);
  if (others.heldBackBy !== undefined) return { kind: "held_back", leading, others };

  if (group.relative.includes(leading) || sumOf(replay, group.relative) >= threshold) {
    const spike = heaviestOf(replay, group.relative) as number;
    return { kind: "stop", reason: "error_spike", attribution: "candidate", leading: spike, others };
  }

  const breach = { kind: "stop", reason: "sla_breach", leading, others } as const;
  if (isOwnCause(replay, leading)) return { ...breach, attribution: "candidate" };
  if (logEvidence(stateOf(replay, leading).stable) >= threshold) return { kind: "shared", leading, others };
  return { ...breach, attribution: "undetermined" };
}

/** The candidate is worse than stable, or stable is proven well while the candidate is not. */
function isOwnCause(replay: Replay, g: number): boolean {
  const { relativePeak, stable } = stateOf(replay, g);
  if (relativePeak >= OWN_CAUSE_LOG_E) return true;
  return logEvidence(stable) < 0 && healthLogE(replay, "stable", g) >= HEALTHY_LOG_E;
}

/** Log of the weighted sum over these guardrails; `-Infinity` for none. */
export function sumOf(replay: Replay, members: readonly number[]): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const g of members) max = Math.max(max, termOf(replay, g));
  if (members.length <= 1) return max;
  let sum = 0;
  for (const g of members) sum += Math.exp(termOf(replay, g) - max);
  return max + Math.log(sum);
}

/** The guardrail that weighs most; `undefined` where there is none. */
export function heaviestOf(replay: Replay, members: readonly number[]): number | undefined {
  let heaviest = members[0];
  for (const g of members) if (termOf(replay, g) > termOf(replay, heaviest as number)) heaviest = g;
  return heaviest;
}

/**
 * The reverse test of an arm over the ticks before the first one with a pending run: those have nothing left to reveal. Runs
 * that another threshold called bad or good don't count.
 */
export function healthLogE(replay: Replay, arm: Arm, g: number): number {
  const { totals, before } = stateOf(replay, g);
  const { n, bad } = replay.settled[arm]?.[g] ?? totals[arm];
  const since = { n: Math.max(0, n - (before?.[arm].n ?? 0)), bad: Math.max(0, bad - (before?.[arm].bad ?? 0)) };
  return reverseLogE(planAt(replay, g).guardrail.p0, since.n, since.bad / MILLIONTHS);
}

function isBudgetSpent(replay: Replay, g: number): boolean {
  const { limit = Number.POSITIVE_INFINITY } = planAt(replay, g).guardrail;
  return spentInHour(stateOf(replay, g)) >= limit * MICRODOLLARS;
}

/** `ln(v E)`. */
function termOf(replay: Replay, g: number): number {
  return planAt(replay, g).logShare + stateOf(replay, g).logE;
}

// Indices of guardrails come from the replay's own groups.
function planAt({ plans }: Replay, g: number): Plan {
  return plans[g] as Plan;
}

function stateOf({ state }: Replay, g: number): GuardrailState {
  return state.guardrails[g] as GuardrailState;
}
