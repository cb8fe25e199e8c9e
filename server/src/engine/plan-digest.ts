/**
 * Names the plan of an apply, so that what a person confirmed is what is carried out.
 */
import { FlagbackError, type PlanStep } from "@flagback/schemas";
import { digestOf } from "./canonical.ts";

/** Moments in a plan come from the clock: with them no plan would be the same twice. */
const OF_THE_CLOCK: ReadonlySet<string> = new Set(["finishing"]);

export function planDigest(plan: readonly PlanStep[]): string {
  return digestOf(
    plan.map(({ action, target, changes }) => [
      action,
      target,
      changes.filter(({ path }) => !OF_THE_CLOCK.has(path)).map(({ path, from, to }) => [path, from, to ?? null]),
    ]),
  );
}

/** @throws FlagbackError `revision_conflict` where the plan is not the one of that digest */
export function checkPlan(plan: readonly PlanStep[], digest: string | undefined): void {
  if (digest === undefined || planDigest(plan) === digest) return;
  throw new FlagbackError({
    code: "revision_conflict",
    message: "The plan is not the one that was shown: somebody changed what the configuration is about meanwhile.",
    hint: "Look at the plan again, and apply it then; nothing was changed.",
  });
}
