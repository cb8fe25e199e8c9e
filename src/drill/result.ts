/**
 * What a drill's record says about the drill.
 */
import { DRILL_CHECKS, type Drill, EXERCISE_STEPS } from "@flagback/schemas";
import type { DrillPass } from "../rollout/drill-requirement.ts";

/** Whether every check and every step of every fault was done and passed. What was not done has not passed. */
export function hasPassed({ steps, faults, because }: Pick<Drill, "steps" | "faults" | "because">): boolean {
  if (because !== undefined || steps.some(({ result }) => result === "fail")) return false;
  const isDone = (name: string, fault?: string) => steps.some((step) => step.name === name && step.fault === fault);
  return (
    DRILL_CHECKS.every((name) => isDone(name)) &&
    faults.every((fault) => EXERCISE_STEPS.every((name) => isDone(name, fault)))
  );
}

/** The drills that a policy's `requireDrill` may be met by. */
export function passesOf(drills: readonly Drill[]): DrillPass[] {
  return drills.flatMap(({ state, alias, candidateDigest, targetDigest, endedAt }) =>
    state === "passed" && endedAt !== undefined ? [{ alias, candidateDigest, targetDigest, at: endedAt }] : [],
  );
}
