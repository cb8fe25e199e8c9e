/**
 * What a guardrail is to the brain, once compiled. Plain JSON.
 */
import type { GuardrailAction, GuardrailMode } from "@flagback/schemas";

/**
 * Where a run's badness comes from. `critical` and `budget` are no statistics: one event, or money spent, decides.
 */
export type GuardrailKind =
  | "error_rate"
  | "latency"
  | "tool_failure"
  | "quality"
  | "cost"
  | "safety"
  | "custom_mean"
  | "custom_quantile"
  | "critical"
  | "budget";

/** Compares the candidate with stable (BRAIN 2.3), by an indicator: a run is bad or it is not. */
export interface RelativeTest {
  /** The odds of a bad run may be at most this many times stable's; at least 1. */
  readonly maxOddsRatio: number;
  /** A candidate whose rate of bad runs is at most this never stops, whatever stable's is. */
  readonly floor: number;
}

/** One guardrail as a bounded mean test: the mean badness may not exceed `p0` (BRAIN 2.1). */
export interface CompiledGuardrail {
  /** The metric as the policy names it; one that compares with stable adds ` vs stable`. Unique in a policy. */
  readonly name: string;
  readonly kind: GuardrailKind;
  /** The badness rate that is allowed, in (0, 1); 0 for `critical` and `budget`. */
  readonly p0: number;
  /** Latency: a run that takes longer is bad. */
  readonly limitMs?: number;
  /** Quality's least, the mean cost or custom mean allowed, a custom quantile's limit, or a budget's dollars for an hour. */
  readonly limit?: number;
  /** Means of money and custom numbers: values above it count as it. */
  readonly cap?: number;
  /** Name of the safety flag or of the custom metric. */
  readonly field?: string;
  readonly relative?: RelativeTest;
  readonly mode: GuardrailMode;
  readonly action: GuardrailAction;
  /** Its part of alpha. Shares of the statistical guardrails that can decide sum to 1; the others have 0. */
  readonly share: number;
}

/** Whether evidence is gathered about it at all, or one event or a sum decides. */
export function isStatistical({ kind }: Pick<CompiledGuardrail, "kind">): boolean {
  return kind !== "critical" && kind !== "budget";
}

/** Whether a run's badness lies between 0 and 1, so that it is counted by bins (BRAIN 2.4). */
export function isFractional({ kind, relative }: Pick<CompiledGuardrail, "kind" | "relative">): boolean {
  if (relative !== undefined) return false;
  return kind === "tool_failure" || kind === "quality" || kind === "cost" || kind === "custom_mean";
}
