/**
 * What a breach leads to. Each consequence has its own sum over its guardrails, so that a rollback waits for no approval; all
 * of them are parts of one sum whose shares are 1, so alpha bounds the probability of any of them.
 */
import type { CompiledGuardrail } from "./compiled.ts";
import type { Verdict } from "./verdict.ts";

/** Gravest first. */
export const CONSEQUENCES = ["rollback", "switch", "freeze", "approval"] as const;
export type Consequence = (typeof CONSEQUENCES)[number];

/** Guardrails of one consequence, as indices into the ledger's. */
export interface Group {
  readonly consequence: Consequence;
  readonly critical: readonly number[];
  readonly budgets: readonly number[];
  /** Those that are statistics. */
  readonly tested: readonly number[];
  /** Those of them that compare with stable. */
  readonly relative: readonly number[];
}

/** What a breach of the guardrail leads to; `null` for one that only observes. */
export function consequenceOf({ mode, action }: Pick<CompiledGuardrail, "mode" | "action">): Consequence | null {
  if (mode === "observe") return null;
  return mode === "approval" ? "approval" : action;
}

/** Whether a verdict rolls back without asking anybody. */
export function isRollback(verdict: Verdict): boolean {
  return verdict.kind === "stop" && consequenceOf(verdict) === "rollback";
}

/** Gravest first; consequences without a guardrail are left out. */
export function groupsOf(guardrails: readonly CompiledGuardrail[]): Group[] {
  return CONSEQUENCES.flatMap((consequence) => {
    const members = guardrails.flatMap((guardrail, g) => (consequenceOf(guardrail) === consequence ? [g] : []));
    const ofKind = (is: (guardrail: CompiledGuardrail) => boolean) =>
      members.filter((g) => is(guardrails[g] as CompiledGuardrail));
    const group: Group = {
      consequence,
      critical: ofKind(({ kind }) => kind === "critical"),
      budgets: ofKind(({ kind }) => kind === "budget"),
      tested: ofKind(({ kind }) => kind !== "critical" && kind !== "budget"),
      relative: ofKind(({ relative }) => relative !== undefined),
    };
    return members.length === 0 ? [] : [group];
  });
}
