/**
 * The counters that ledgers are made of. All are integers that only grow, so that replicas and runtimes merge by sum.
 */
import { EXCLUSIONS, type Exclusion } from "./badness.ts";
import { type CompiledGuardrail, isFractional } from "./compiled.ts";
import { BINS, type Bins, binOf } from "./detector.ts";

export type Arm = "candidate" | "stable";
export const ARMS = ["candidate", "stable"] as const satisfies readonly Arm[];

/** What outcomes say about one guardrail. */
export interface GuardrailCounts {
  /** Settled outcomes that say something about the guardrail. */
  judged: number;
  /** Sum of their badness, in millionths; of a budget, of their cost in microdollars. */
  bad: number;
  /** Kinds whose badness is a fraction only: how many outcomes were bad by the guardrail's indicator. */
  hits?: number;
  /** Kinds whose badness is a fraction only. */
  bins?: Bins;
  /** Latency only: runs that were judged bad while they were open, because they had passed the limit. */
  overdue?: number;
  /** Latency only: those of them that have ended since, in whatever way. */
  overdueEnded?: number;
}

/** Runs assigned in one tick. Pending ones are `assigned - settled - missing - lost`. */
export interface Counts {
  assigned: number;
  /** Runs whose outcome is known, also where it says nothing about any guardrail. */
  settled: number;
  /** Runs without an outcome at `outcomeTimeout`: bad for the error rate, excluded elsewhere. */
  missing: number;
  /** Runs of a host that was lost in silence: excluded everywhere. */
  lost: number;
  /** Settled runs that say nothing about their version, by why. */
  excluded: Record<Exclusion, number>;
  /** In the order of the ledger's guardrails. */
  guardrails: GuardrailCounts[];
}

/** The counts of one runtime. */
export interface RuntimeCounts extends Counts {
  runtime: string;
}

export function newCounts(guardrails: readonly CompiledGuardrail[]): Counts {
  return {
    assigned: 0,
    settled: 0,
    missing: 0,
    lost: 0,
    excluded: { cancelled: 0, blocked: 0, client: 0, policy: 0, isDefault: 0 },
    guardrails: guardrails.map(newGuardrailCounts),
  };
}

/** Runs whose outcome is not known. Never negative, also where a replica's assignments are not here yet. */
export function pendingOf(counts: Counts): number {
  return Math.max(0, counts.assigned - counts.settled - counts.missing - counts.lost);
}

/** Pending runs that the guardrail says nothing of yet: one that is overdue was judged before it ended. */
export function pendingFor(counts: Counts, { overdue = 0, overdueEnded = 0 }: GuardrailCounts): number {
  return Math.max(0, pendingOf(counts) - Math.max(0, overdue - overdueEnded));
}

/** Adds `from`, or with `sign` -1 takes it away. */
export function addTo(into: Counts, from: Counts, sign: 1 | -1 = 1): void {
  into.assigned += sign * from.assigned;
  into.settled += sign * from.settled;
  into.missing += sign * from.missing;
  into.lost += sign * from.lost;
  for (const exclusion of EXCLUSIONS) into.excluded[exclusion] += sign * from.excluded[exclusion];
  for (let g = 0; g < into.guardrails.length; g++) {
    // Both have one entry for each guardrail: rows are checked when they come in.
    addGuardrailCounts(into.guardrails[g] as GuardrailCounts, from.guardrails[g] as GuardrailCounts, sign);
  }
}

/** Counts one outcome's badness, in millionths; `isHit` matters for fractions only. */
export function addBadness(counts: GuardrailCounts, badness: number, isHit: boolean): void {
  counts.judged += 1;
  counts.bad += badness;
  const { bins } = counts;
  if (bins === undefined) return;
  if (isHit) counts.hits = (counts.hits ?? 0) + 1;
  const bin = binOf(badness);
  // binOf answers an index of the ten bins.
  bins.n[bin] = (bins.n[bin] as number) + 1;
  bins.sum[bin] = (bins.sum[bin] as number) + badness;
}

export function cloneCounts<C extends Counts>(counts: C): C {
  return { ...counts, excluded: { ...counts.excluded }, guardrails: counts.guardrails.map(cloneGuardrailCounts) };
}

function newGuardrailCounts(guardrail: CompiledGuardrail): GuardrailCounts {
  if (!isFractional(guardrail)) return { judged: 0, bad: 0 };
  const zeros = () => new Array<number>(BINS).fill(0);
  return { judged: 0, bad: 0, hits: 0, bins: { n: zeros(), sum: zeros() } };
}

function addGuardrailCounts(into: GuardrailCounts, from: GuardrailCounts, sign: 1 | -1): void {
  into.judged += sign * from.judged;
  into.bad += sign * from.bad;
  if (from.overdue !== undefined) into.overdue = (into.overdue ?? 0) + sign * from.overdue;
  if (from.overdueEnded !== undefined) into.overdueEnded = (into.overdueEnded ?? 0) + sign * from.overdueEnded;
  if (into.bins === undefined || from.bins === undefined) return;
  into.hits = (into.hits ?? 0) + sign * (from.hits ?? 0);
  for (let bin = 0; bin < BINS; bin++) {
    into.bins.n[bin] = (into.bins.n[bin] ?? 0) + sign * (from.bins.n[bin] ?? 0);
    into.bins.sum[bin] = (into.bins.sum[bin] ?? 0) + sign * (from.bins.sum[bin] ?? 0);
  }
}

function cloneGuardrailCounts(counts: GuardrailCounts): GuardrailCounts {
  return counts.bins ? { ...counts, bins: { n: [...counts.bins.n], sum: [...counts.bins.sum] } } : { ...counts };
}
