/**
 * Whether a rollback of an alias could fire, and what it would return to.
 */
import { firingFinding } from "@flagback/core";
import type { DrillFault, Policy, Version } from "@flagback/schemas";
import { type Finding, together } from "./finding.ts";

/** A policy that needs more spoilt runs in a row than this to stop a candidate is as good as none. */
const MOST_RUNS_TO_STOP = 300;

/** For each fault: whether some guardrail that can decide stops the candidate, and after how many runs. */
export function planFinding(policy: Policy, target: Version, faults: readonly DrillFault[]): Finding {
  const available: Finding = {
    isMet: target.retiredAt === undefined,
    why: `the rollback target ${target.id} is ${target.retiredAt === undefined ? "registered and not retired" : "retired"}`,
  };
  return together([available, ...faults.map((fault) => firingFinding(policy, fault, MOST_RUNS_TO_STOP))]);
}
