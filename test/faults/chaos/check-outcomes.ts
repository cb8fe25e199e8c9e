/**
 * Judges outcomes: each that was acknowledged is counted once, and nothing is that nobody reported. Pure.
 */
import type { ChaosEvent, DatabaseFacts, Violation } from "./history.ts";

type Reported = Extract<ChaosEvent, { kind: "reported" }>;

export type Totals = ReadonlyMap<
  string,
  { readonly assigned: number; readonly settled: number; readonly failures: number }
>;

/** Batches that are not counted yet, by instance and number, and what was counted of the others. */
export interface Ledger {
  readonly open: ReadonlyMap<string, ReadonlyMap<number, Reported>>;
  readonly totals: Totals;
}

export const EMPTY_LEDGER: Ledger = { open: new Map(), totals: new Map() };

/** Violations listed of one kind; one defect may lose thousands. */
const MAX_LISTED = 5;

export function checkOutcomes(
  before: Ledger,
  events: readonly ChaosEvent[],
  facts: DatabaseFacts,
): { readonly violations: readonly Violation[]; readonly ledger: Ledger } {
  const open = new Map([...before.open].map(([instance, batches]) => [instance, new Map(batches)]));
  const acknowledged = new Map<string, number>();
  const refused = new Set<string>();
  const lost: string[] = [];
  for (const event of events) {
    if (event.kind === "reported") {
      const batches = open.get(event.instance) ?? new Map<number, Reported>();
      open.set(event.instance, batches.set(event.seq, event));
    } else if (event.kind === "acknowledged") {
      acknowledged.set(event.instance, Math.max(acknowledged.get(event.instance) ?? 0, event.through));
      for (const { seq, index } of event.refused) refused.add(`${event.instance} ${seq} ${index}`);
    } else if (event.kind === "greeted") {
      const said = acknowledged.get(event.instance) ?? 0;
      if (event.through < said)
        lost.push(`batch ${said} of ${event.instance} was acknowledged, then it was ${event.through}`);
      acknowledged.set(event.instance, Math.max(said, event.through));
    }
  }
  const counted = new Map(facts.through.map(({ instance, seq }) => [instance, seq]));
  for (const [instance, seq] of acknowledged) {
    const is = counted.get(instance) ?? 0;
    if (is < seq) lost.push(`batch ${seq} of ${instance} was acknowledged, and ${is} is the last that is counted`);
  }

  const due = new Map<string, string>();
  const maybe = new Set<string>();
  const totals = new Map([...before.totals].map(([key, sums]) => [key, { ...sums }]));
  const sumsOf = (agent: string, version: string) => {
    const key = `${agent} ${version}`;
    const sums = totals.get(key) ?? { assigned: 0, settled: 0, failures: 0 };
    totals.set(key, sums);
    return sums;
  };
  for (const [instance, batches] of open) {
    const through = counted.get(instance) ?? 0;
    for (const [seq, { announced, runs }] of batches) {
      if (seq > through) {
        for (const { agent, runId } of runs) maybe.add(`${agent} ${runId}`);
        continue;
      }
      for (const { agent, version, n } of announced) sumsOf(agent, version).assigned += n;
      for (const { agent, version, runId, index, isFailure } of runs) {
        const sums = sumsOf(agent, version);
        sums.settled += 1;
        if (refused.has(`${instance} ${seq} ${index}`)) continue;
        if (isFailure) sums.failures += 1;
        due.set(`${agent} ${runId}`, `batch ${seq} of ${instance}`);
      }
      batches.delete(seq);
    }
    if (batches.size === 0) open.delete(instance);
  }

  const doubled: string[] = [];
  const seen = new Set<string>();
  for (const { agent, version, runId } of facts.runs) {
    const key = `${agent} ${runId}`;
    if (seen.has(key)) doubled.push(`run ${runId} of ${version} is counted twice`);
    else if (maybe.has(key)) doubled.push(`run ${runId} of ${version} is counted, and its batch is not`);
    else if (!due.has(key)) doubled.push(`run ${runId} of ${version} is counted again, or was never reported`);
    seen.add(key);
  }
  for (const [key, where] of due) if (!seen.has(key)) lost.push(`run ${key} of ${where} is not counted`);

  const inDatabase = new Map(facts.totals.map(({ agent, version, ...sums }) => [`${agent} ${version}`, sums]));
  for (const key of new Set([...totals.keys(), ...inDatabase.keys()])) {
    for (const name of ["assigned", "settled", "failures"] as const) {
      const is = inDatabase.get(key)?.[name] ?? 0;
      const should = totals.get(key)?.[name] ?? 0;
      if (is !== should) (is < should ? lost : doubled).push(`${key}: ${name} is ${is}, reported were ${should}`);
    }
  }
  return {
    violations: [...violationsOf("outcome_lost", lost), ...violationsOf("outcome_doubled", doubled)],
    // One defect is told once: what comes after it is compared with what was counted.
    ledger: { open, totals: inDatabase },
  };
}

function violationsOf(rule: "outcome_lost" | "outcome_doubled", details: readonly string[]): Violation[] {
  const listed: Violation[] = details.slice(0, MAX_LISTED).map((detail) => ({ rule, detail }));
  const more = details.length - listed.length;
  return more > 0 ? [...listed, { rule, detail: `and ${more} more` }] : listed;
}
