/**
 * A verdict in words for a tired engineer.
 */
import type { GuardrailEvidence } from "@flagback/schemas";
import type { Verdict } from "./verdict.ts";

/** One to four sentences. `candidate` names the version, such as `support-agent@2.4.0`. */
export function explain(verdict: Verdict, candidate = "the candidate"): string {
  const evidence = verdict.guardrails.find(({ guardrail }) => guardrail === verdict.leading);
  if (verdict.kind === "hold" && verdict.reason !== "shared_cause") return explainExposure(verdict, candidate);
  if (evidence === undefined) return "No guardrail can decide, so nothing is judged.";
  switch (verdict.kind) {
    case "allow":
      return verdict.heldBackBy === undefined
        ? explainAllow(verdict, evidence, candidate)
        : `${whatHappened(evidence, candidate)} That would be enough to stop, but without ${verdict.heldBackBy} too little of it is left, and one runtime alone does not decide.`;
    case "hold":
      return `${whatHappened(evidence, candidate)} Stable breaks the same limit, so a rollback would help nobody; the rollout holds.`;
    case "stop":
      return [whatHappened(evidence, candidate), oddsOf(verdict, evidence), causeOf(verdict)].filter(Boolean).join(" ");
  }
}

function explainAllow(verdict: Verdict, evidence: GuardrailEvidence, candidate: string): string {
  if (evidence.n === 0) return `No outcome of ${candidate} says anything yet.`;
  const part = Math.max(0, Math.min(1, verdict.logE / verdict.threshold));
  return `${whatHappened(evidence, candidate, true)} The evidence stands at ${percent(part)} of what a stop needs.`;
}

function explainExposure(verdict: Extract<Verdict, { kind: "hold" }>, candidate: string): string {
  if (verdict.reason === "sample_ratio") {
    const { logETooMany, logETooFew } = verdict.exposure;
    const direction = logETooMany > logETooFew ? "more" : "fewer";
    return `${candidate} gets ${direction} runs than its weight says; a chance of this size has odds below 1 in 1000. The rollout holds until that is understood.`;
  }
  const [worst] = [...verdict.exclusions].sort((a, b) => b.logE - a.logE);
  if (worst === undefined) return "The rollout holds.";
  return `${percent(worst.candidateRate)} of the runs of ${candidate} end as ${WORD_OF_EXCLUSION[worst.exclusion]}, on stable ${percent(worst.stableRate)}; such runs count against no version, and failures must not hide there. The rollout holds.`;
}

const WORD_OF_EXCLUSION = {
  cancelled: "cancelled",
  blocked: "blocked",
  client: "errors of the client",
  policy: "errors of a policy",
  isDefault: "the caller's default",
} as const;

/** The bad segment where it is known, else all there was. */
function whatHappened(evidence: GuardrailEvidence, candidate: string, isWhole = false): string {
  const { n, k } = isWhole || evidence.since === undefined || evidence.since.n === 0 ? evidence : evidence.since;
  const rate = n === 0 ? 0 : k / n;
  const { limit = 0, p0, stable } = evidence;
  const runs = `${tidy(k)} of ${n} runs of ${candidate}`;
  if (evidence.maxOddsRatio !== undefined && stable !== undefined) {
    return `${runs} ${verbOf(evidence)} (${percent(rate)}), against ${tidy(stable.k)} of ${stable.n} on stable (${percent(stable.rate)}); ${tidy(evidence.maxOddsRatio)} times stable's odds are allowed.`;
  }
  switch (evidence.kind) {
    case "critical":
      return `${tidy(evidence.k)} of ${evidence.n} runs of ${candidate} raised ${evidence.guardrail}, and none is allowed.`;
    case "budget":
      return `${candidate} spent $${tidy(evidence.k)} within an hour; the budget is $${tidy(limit)}.`;
    case "tool_failure":
      return `${percent(rate)} of the tool calls failed in the average of ${n} runs of ${candidate}; ${percent(p0)} are allowed.`;
    case "quality":
      return `The quality of ${n} runs of ${candidate} averages ${tidy(1 - rate)}; at least ${tidy(limit)} is asked for.`;
    case "cost":
    case "custom_mean":
      return `${evidence.guardrail} averages ${tidy((rate * limit) / p0)} over ${n} runs of ${candidate}; ${tidy(limit)} is allowed.`;
    default:
      return `${runs} ${verbOf(evidence)} (${percent(rate)}); ${percent(p0)} are allowed.`;
  }
}

function verbOf({ kind, guardrail, limit = 0 }: GuardrailEvidence): string {
  switch (kind) {
    case "latency":
      return `took longer than ${tidy(limit)} ms`;
    case "tool_failure":
      return "had a tool call fail";
    case "quality":
      return `fell below a quality of ${tidy(limit)}`;
    case "safety":
      return `raised ${guardrail}`;
    case "custom_quantile":
      return `exceeded ${tidy(limit)} (${guardrail})`;
    default:
      return "failed";
  }
}

function oddsOf({ alpha }: Verdict, { kind }: GuardrailEvidence): string {
  if (kind === "critical" || kind === "budget") return "";
  const badRuns = kind === "error_rate" ? "such a run of failures" : "such a run of results";
  return `Under that limit ${badRuns} has odds below 1 in ${tidy(Math.round(1 / alpha))}.`;
}

function causeOf({ attribution, reason }: Extract<Verdict, { kind: "stop" }>): string {
  if (reason === "rollback_required") return "";
  if (attribution === "candidate") return "Stable does not do the same, so the candidate is the cause.";
  return attribution === "undetermined" ? "Whether stable does the same is not known yet." : "";
}

function percent(rate: number): string {
  return `${tidy(rate * 100)} %`;
}

/** At most three digits that matter, and no more than a person would write. */
function tidy(value: number): string {
  return String(Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(2)));
}
