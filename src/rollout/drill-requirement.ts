/**
 * Whether the drill that a policy demands has passed: one that is not too old, or one for exactly this pair of payloads.
 */
import { durationMs, type Policy } from "@flagback/schemas";

/** A drill that passed. */
export interface DrillPass {
  readonly alias: string;
  readonly candidateDigest: string;
  readonly targetDigest: string;
  /** UTC, ISO 8601. */
  readonly at: string;
}

/** What is rolled out, and what a rollback would return to. */
export interface DigestPair {
  readonly alias: string;
  readonly candidateDigest: string;
  readonly targetDigest: string;
}

export function drillFinding(
  required: Policy["requireDrill"],
  passes: readonly DrillPass[],
  pair: DigestPair,
  now: string,
): { readonly isMet: boolean; readonly why: string } {
  if (required === undefined) return { isMet: true, why: "the policy demands no drill" };
  const ofAlias = passes.filter((pass) => pass.alias === pair.alias);
  if (required === "perRelease") {
    const found = ofAlias.find(
      (pass) => pass.candidateDigest === pair.candidateDigest && pass.targetDigest === pair.targetDigest,
    );
    return found
      ? { isMet: true, why: `a drill of this candidate and this rollback target passed at ${found.at}` }
      : { isMet: false, why: "no drill of this candidate and this rollback target has passed" };
  }
  const last = ofAlias.map((pass) => pass.at).sort((a, b) => Date.parse(b) - Date.parse(a))[0];
  if (last === undefined) return { isMet: false, why: `no drill has passed on ${pair.alias}` };
  const ageMs = Date.parse(now) - Date.parse(last);
  return ageMs <= durationMs(required.maxAge)
    ? { isMet: true, why: `the last drill passed at ${last}` }
    : { isMet: false, why: `the last drill passed at ${last}, which is longer ago than ${required.maxAge}` };
}
