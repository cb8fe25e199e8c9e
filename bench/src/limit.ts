/**
 * One limit and whether it holds. A full run takes limits as they are; a quick one forgives four standard errors of its own,
 * fewer, replications.
 */
import type { Estimate } from "./statistics.ts";

export interface Limit {
  /** The letter of BRAIN's benchmark section, E for the equal contract of retuned peers, S for speed. */
  readonly id: string;
  readonly what: string;
  /** `null` where it could not be measured. */
  readonly value: number | null;
  readonly relation: "at most" | "at least" | "exactly";
  readonly limit: number;
  readonly unit: string;
  /** What the limit was widened by; 0 in a full run. */
  readonly slack: number;
  readonly holds: boolean;
  readonly note?: string;
}

export type Scale = "full" | "quick";

interface Claim {
  readonly id: string;
  readonly what: string;
  readonly estimate: Estimate;
  readonly relation?: Limit["relation"];
  readonly limit: number;
  readonly unit: string;
  readonly note?: string;
}

/** Whether a claim holds at the scale. Not a number never holds. */
export function check(scale: Scale, { estimate, relation = "at most", note, ...claim }: Claim): Limit {
  const slack = scale === "quick" ? estimate.slack : 0;
  const { value } = estimate;
  const isWithin = {
    "at most": value - slack <= claim.limit,
    "at least": value + slack >= claim.limit,
    exactly: value === claim.limit,
  }[relation];
  return { ...claim, value, relation, slack, holds: isWithin, ...(note === undefined ? {} : { note }) };
}

/** Why the run fails, a sentence for each limit that does not hold. */
export function failuresOf(limits: readonly Limit[]): string[] {
  return limits
    .filter(({ holds }) => !holds)
    .map(({ id, what, value, relation, limit, unit, note }) => {
      const measured = value === null ? "not measured" : `${round(value)} ${unit}`;
      return `${id} ${what}: ${measured}, ${relation} ${round(limit)} ${unit}${note === undefined ? "" : ` (${note})`}`;
    });
}

export function round(value: number): string {
  return String(Number(value.toPrecision(5)));
}
