/**
 * Where the proof stands that stable is healthy after a rollback (BRAIN 2.7), on a ledger of runs that began since.
 */
import type { CompiledGuardrail } from "./compiled.ts";
import { isStatistical } from "./compiled.ts";
import { pendingOf } from "./counts.ts";
import { type Health, healthOf } from "./health.ts";
import { judge } from "./judge.ts";
import type { Ledger } from "./ledger.ts";

export interface RecoveryStanding {
  /**
   * `proven`: every guardrail that the runs speak of is kept. `broken`: stable itself breaks one. `unprovable`: none of them
   * is a statistic, so nothing but time without an event can speak for it. `open`: not enough is known yet.
   */
  readonly kind: "proven" | "broken" | "unprovable" | "open";
  /** Guardrails that count, those not proven included. */
  readonly health: readonly Health[];
  /** The guardrail that stable breaks. */
  readonly broken?: string;
  /** Runs of stable with an outcome, or without one for too long. */
  readonly runs: number;
}

/**
 * Guardrails that only observe don't count, nor those that compare with a candidate that gets no run any more, where there
 * are others. One that no run says anything about is not waited for where another is proven: while writes are blocked, an
 * agent whose only tool writes calls none.
 */
export function recoveryStanding(ledger: Ledger): RecoveryStanding {
  const members = membersOf(ledger.guardrails);
  const all = healthOf(ledger, "stable");
  // One entry for each guardrail.
  const health = members.map((g) => all[g] as Health);
  const runs = runsOf(ledger);
  const broken = brokenBy(ledger, members, health);
  if (broken !== undefined) return { kind: "broken", health, broken, runs };
  const tested = health.filter(({ logE }) => logE !== null);
  if (tested.length === 0) return { kind: "unprovable", health, runs };
  const spokenOf = tested.filter(({ n }) => n > 0);
  const isProven = spokenOf.length > 0 && spokenOf.every(({ isHealthy }) => isHealthy);
  return { kind: isProven ? "proven" : "open", health, runs };
}

function membersOf(guardrails: readonly CompiledGuardrail[]): number[] {
  const deciding = guardrails.flatMap(({ mode }, g) => (mode === "observe" ? [] : [g]));
  const absolute = deciding.filter((g) => guardrails[g]?.relative === undefined);
  return absolute.length > 0 ? absolute : deciding;
}

/** A critical event on stable, or stable's own detector at its share of the evidence that a stop needs. */
function brokenBy(ledger: Ledger, members: readonly number[], health: readonly Health[]): string | undefined {
  const event = members.findIndex((g, i) => ledger.guardrails[g]?.kind === "critical" && (health[i]?.k ?? 0) > 0);
  if (event !== -1) return health[event]?.guardrail;
  const judged = judge(ledger).guardrails;
  const index = members.find((g) => {
    const guardrail = ledger.guardrails[g];
    const evidence = judged[g];
    const logE = evidence?.stable?.logE;
    if (guardrail === undefined || evidence === undefined || logE === undefined || !isStatistical(guardrail))
      return false;
    return logE + Math.log(guardrail.share) >= evidence.threshold;
  });
  return index === undefined ? undefined : ledger.guardrails[index]?.name;
}

function runsOf({ prefix, ticks }: Ledger): number {
  return ticks.reduce(
    (sum, { arms }) => sum + arms.stable.total.assigned - pendingOf(arms.stable.total),
    prefix.assigned.stable,
  );
}
