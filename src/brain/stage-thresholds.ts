/**
 * Which thresholds hold for the runs of a tick. A stage's own come into force with a tick that has no runs yet, so each run is
 * judged by what was known when it was assigned, and the evidence goes on: docs/brain.md says why that costs nothing of alpha.
 */
import type { CompiledGuardrail } from "./compiled.ts";

/** From `tick` on, the guardrails with the thresholds of the stage that began; names, kinds and shares are always the same. */
export interface StageThresholds {
  tick: number;
  guardrails: CompiledGuardrail[];
}

/** A ledger, as far as its thresholds go. */
export interface Thresholds {
  /** Those that hold before the first of `thresholds`. */
  readonly guardrails: CompiledGuardrail[];
  readonly thresholds?: readonly StageThresholds[];
}

/** The guardrails as they hold for the runs of a tick. */
export function guardrailsAt({ guardrails, thresholds }: Thresholds, tick: number): CompiledGuardrail[] {
  if (thresholds === undefined) return guardrails;
  return thresholds.findLast((each) => each.tick <= tick)?.guardrails ?? guardrails;
}

/** The guardrails as they hold for the runs that come. */
export function guardrailsInForce(ledger: Thresholds): CompiledGuardrail[] {
  return guardrailsAt(ledger, Number.POSITIVE_INFINITY);
}

/** Whether both ask for the same. */
export function isSameThreshold(a: CompiledGuardrail, b: CompiledGuardrail): boolean {
  return a.p0 === b.p0 && a.limit === b.limit && a.relative?.floor === b.relative?.floor && isSameBadness(a, b);
}

/** Whether both call the same runs bad, so that counts under the one are counts under the other. */
export function isSameBadness(a: CompiledGuardrail, b: CompiledGuardrail): boolean {
  return a.limitMs === b.limitMs && (a.relative === undefined || a.limit === b.limit);
}

/** The first tick since which the guardrail calls the same runs bad; -1 where it always did. */
export function countedSince(ledger: Thresholds, g: number): number {
  const { thresholds = [] } = ledger;
  const last = thresholds.findLast(({ tick, guardrails }) => {
    const [before, after] = [guardrailsAt(ledger, tick - 1)[g], guardrails[g]];
    return before !== undefined && after !== undefined && !isSameBadness(before, after);
  });
  return last?.tick ?? -1;
}
