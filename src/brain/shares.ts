/**
 * How the statistical guardrails of a policy divide alpha among them (BRAIN 2.5).
 */
import { type CompiledGuardrail, isStatistical } from "./compiled.ts";

/** What a guardrail's share depends on. */
export interface Claim {
  readonly test: Pick<CompiledGuardrail, "kind" | "relative">;
  readonly mode: CompiledGuardrail["mode"];
  /** As the policy states it. */
  readonly share: number | undefined;
  /** Where the policy states it. */
  readonly field: string;
}

/** Each kind's part of alpha before renormalising (BRAIN 2.5). Kinds that it does not list take {@link OTHER_PART}. */
const PART_OF_KIND: Readonly<Record<string, number>> = {
  error_rate: 0.25,
  "error_rate vs stable": 0.2,
  latency: 0.15,
  tool_failure: 0.15,
  "latency vs stable": 0.1,
};
const OTHER_PART = 0.05;
/** Explicit shares may miss 1 by this much and still be meant to sum to it. */
const SHARE_TOLERANCE = 1e-9;

/** What is wrong with the stated shares, or nothing. */
export function shareProblem(claims: readonly Claim[]): string | undefined {
  const taking = claims.filter(takesShare);
  const explicit = taking.filter(({ share }) => share !== undefined);
  if (explicit.length === 0) return undefined;
  const sum = explicit.reduce((total, { share }) => total + (share ?? 0), 0);
  const fields = explicit.map(({ field }) => `${field}.share`).join(", ");
  if (explicit.length === taking.length) {
    const isWhole = Math.abs(sum - 1) <= SHARE_TOLERANCE;
    return isWhole
      ? undefined
      : `${fields}: every guardrail that can decide has a share, and they sum to ${sum}, not 1`;
  }
  return sum < 1 - SHARE_TOLERANCE
    ? undefined
    : `${fields}: the shares sum to ${sum} and leave nothing for the guardrails without one`;
}

/** Explicit shares as they are; the rest goes to the other deciding guardrails by kind, equally within a kind. */
export function sharesOf(claims: readonly Claim[]): number[] {
  const taking = claims.filter(takesShare);
  const explicitSum = taking.reduce((sum, { share }) => sum + (share ?? 0), 0);
  const implicit = taking.filter(({ share }) => share === undefined);
  const part = (claim: Claim) => {
    const kind = kindOf(claim);
    return (PART_OF_KIND[kind] ?? OTHER_PART) / implicit.filter((other) => kindOf(other) === kind).length;
  };
  const parts = implicit.reduce((sum, claim) => sum + part(claim), 0);
  return claims.map((claim) => {
    if (!takesShare(claim)) return 0;
    if (claim.share !== undefined) return claim.share;
    return ((1 - explicitSum) * part(claim)) / parts;
  });
}

/** One that only observes decides nothing; critical events and budgets are no statistics. Neither takes a share. */
export function takesShare({ test, mode }: Pick<Claim, "test" | "mode">): boolean {
  return mode !== "observe" && isStatistical(test);
}

/** Means and quantiles of custom numbers are one kind. */
function kindOf({ test }: Claim): string {
  const kind = test.kind.startsWith("custom_") ? "custom" : test.kind;
  return test.relative === undefined ? kind : `${kind} vs stable`;
}
