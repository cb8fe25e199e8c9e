/**
 * What follows from how a recovery stands: the order of the rules, in one place (DESIGN 7, BRAIN 2.7).
 */
import type { Incident } from "@flagback/schemas";
import type { RecoveryStanding } from "../brain/index.ts";
import { isVerifying } from "./incidents.ts";

export interface RecoveryFacts {
  readonly incident: Incident;
  /** Every runtime has acknowledged the rollback, or its lease is over. */
  readonly isConverged: boolean;
  /** Runs of the candidate that began although their runtime knew of the rollback. */
  readonly candidateRuns: number;
  /** No run of the candidate was announced for a while: none is under way somewhere. */
  readonly isQuiet: boolean;
  /** Undefined before the first run of stable. */
  readonly standing: RecoveryStanding | undefined;
  readonly isWindowOver: boolean;
  /** Another rollout of the alias has begun, so that stable's runs are its evidence from now on. */
  readonly isSuperseded: boolean;
}

export type RecoveryStep =
  | { readonly kind: "wait" }
  | {
      readonly kind: "settle";
      readonly as: "recovered" | "unverified" | "not_recovered";
      /** In a clause for people. */
      readonly because: string;
    };

/** Bad news first; then the proof; then the end of the window, which a later proof may still follow. */
export function recoveryStep(facts: RecoveryFacts): RecoveryStep {
  const { incident, standing } = facts;
  const { target, candidate } = incident;
  if (!isVerifying(incident)) return { kind: "wait" };
  if (facts.candidateRuns > 0) {
    const because = `${countOf(facts.candidateRuns, "run")} of it began on runtimes that knew of the rollback`;
    return { kind: "settle", as: "not_recovered", because };
  }
  if (standing?.kind === "broken") {
    return { kind: "settle", as: "not_recovered", because: `${target} itself breaks ${standing.broken}` };
  }
  if (facts.isConverged && facts.isQuiet && isProven(facts)) {
    return { kind: "settle", as: "recovered", because: `${countOf(standing?.runs ?? 0, "run")} since the rollback` };
  }
  if (incident.state !== "open") return { kind: "wait" };
  if (facts.isSuperseded) {
    const because = `another rollout began before ${target} was proven healthy`;
    return { kind: "settle", as: "unverified", because };
  }
  if (!facts.isWindowOver) return { kind: "wait" };
  const missing = [
    ...(facts.isConverged ? [] : ["not every runtime has acknowledged it"]),
    ...(facts.isQuiet ? [] : [`runs of ${candidate} still come in`]),
    ...(isProven(facts) ? [] : [`${target} is not proven healthy by ${countOf(standing?.runs ?? 0, "run")}`]),
  ];
  return { kind: "settle", as: "unverified", because: `the window is over and ${missing.join(", and ")}` };
}

/** Without a statistic, a whole window with runs and without an event has to do. */
function isProven({ standing, isWindowOver }: RecoveryFacts): boolean {
  if (standing?.kind === "unprovable") return isWindowOver && standing.runs > 0;
  return standing?.kind === "proven";
}

function countOf(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
