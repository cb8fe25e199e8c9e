/**
 * Turns a policy's guardrails into what the brain judges, or says all that is wrong with them.
 */
import type { Guardrail, Policy, Refusal } from "@flagback/schemas";

export type GuardrailKind = "error_rate" | "latency" | "tool_failure";

/** One guardrail as a bounded mean test: the mean badness may not exceed `p0` (BRAIN 2.1). Plain JSON. */
export interface CompiledGuardrail {
  /** The metric as the policy names it. */
  readonly name: string;
  readonly kind: GuardrailKind;
  /** The badness rate that is allowed, in (0, 1). */
  readonly p0: number;
  /** Latency only: a run that takes longer is bad. */
  readonly limitMs?: number;
  /** An observed guardrail gathers evidence and stops nothing. */
  readonly mode: "automatic" | "observe";
  /** Its part of alpha. Shares of automatic guardrails sum to 1; an observed one has 0. */
  readonly share: number;
}

export type CompiledGuardrails =
  | { readonly ok: true; readonly guardrails: CompiledGuardrail[] }
  | { readonly ok: false; readonly refusal: Refusal };

/** Each kind's part of alpha before renormalising (BRAIN 2.5). */
const PART_OF_KIND = { error_rate: 0.25, latency: 0.15, tool_failure: 0.15 } as const satisfies Record<
  GuardrailKind,
  number
>;
/** Explicit shares may miss 1 by this much and still be meant to sum to it. */
const SHARE_TOLERANCE = 1e-9;

/**
 * Compiles the guardrails of a policy. With `stage`, that stage's own thresholds apply; the result then belongs to a ledger
 * of that stage alone. Without it, a policy with thresholds of single stages is refused, because nobody would judge them.
 */
export function compileGuardrails(policy: Policy, stage?: string): CompiledGuardrails {
  const problems: Problem[] = [];
  const drafts: Draft[] = [];
  const seen = new Map<string, string>();
  const stageNames = new Set(policy.stages.map((known) => known.name));

  policy.guardrails.forEach((guardrail, index) => {
    const field = `guardrails[${index}]`;
    const found = problemsOf(guardrail, field, stage, stageNames);
    const key = identityOf(guardrail);
    const earlier = seen.get(key);
    if (earlier !== undefined)
      found.push(invalid(`${field}.metric: ${guardrail.metric} is already judged by ${earlier}`));
    else seen.set(key, field);
    problems.push(...found);
    const test = testOf(guardrail, stage);
    if (found.length === 0 && test !== undefined) drafts.push({ guardrail, field, test });
  });

  if (!policy.guardrails.some((guardrail) => guardrail.mode === "automatic")) {
    problems.push(invalid("guardrails: none has mode automatic, so nothing would ever roll back"));
  }
  if (problems.length === 0) problems.push(...shareProblems(drafts));
  if (problems.length > 0) return { ok: false, refusal: refusalOf(problems) };

  const shares = sharesOf(drafts);
  const guardrails = drafts.map(({ guardrail, test }, index): CompiledGuardrail => {
    const mode = guardrail.mode === "observe" ? "observe" : "automatic";
    return { name: guardrail.metric, ...test, mode, share: shares[index] ?? 0 };
  });
  return { ok: true, guardrails };
}

interface Problem {
  readonly code: "guardrail_unsupported" | "policy_invalid";
  readonly text: string;
}

interface Test {
  readonly kind: GuardrailKind;
  readonly p0: number;
  readonly limitMs?: number;
}

interface Draft {
  readonly guardrail: Guardrail;
  readonly field: string;
  readonly test: Test;
}

type ParsedMetric =
  | { readonly kind: "error_rate" | "tool_failure" }
  | { readonly kind: "latency"; readonly permille: number };

function invalid(text: string): Problem {
  return { code: "policy_invalid", text };
}

function unsupported(text: string): Problem {
  return { code: "guardrail_unsupported", text };
}

function problemsOf(
  guardrail: Guardrail,
  field: string,
  stage: string | undefined,
  stageNames: ReadonlySet<string>,
): Problem[] {
  const { metric } = guardrail;
  const parsed = parseMetric(metric);
  if (parsed === undefined) return [unsupported(`${field}.metric: ${metric} is not judged yet`)];
  if (guardrail.relativeTo !== undefined) {
    return [unsupported(`${field}.relativeTo: comparing ${metric} with stable is not judged yet`)];
  }

  const problems: Problem[] = [];
  if (guardrail.mode === "approval") problems.push(unsupported(`${field}.mode: approval is not judged yet`));
  if (guardrail.action !== "rollback")
    problems.push(unsupported(`${field}.action: ${guardrail.action} is not carried out yet`));
  for (const other of ["min", "cap", "p50", "p90", "p95", "p99", "maxOddsRatio"] as const) {
    if (guardrail[other] !== undefined) problems.push(invalid(`${field}.${other}: ${metric} takes max, not ${other}`));
  }
  if (guardrail.share !== undefined && guardrail.mode === "observe") {
    problems.push(invalid(`${field}.share: a guardrail that only observes takes no share`));
  }
  if (parsed.kind === "latency" && parsed.permille === 0) {
    problems.push(invalid(`${field}.metric: ${metric} allows every run to be too slow; use a quantile above 0`));
  }

  const threshold = thresholdProblem(parsed, guardrail.max, `${field}.max`, metric);
  if (threshold) problems.push(threshold);
  for (const [name, override] of Object.entries(guardrail.stages ?? {})) {
    const path = `${field}.stages.${name}`;
    if (!stageNames.has(name)) problems.push(invalid(`${path}: the policy has no stage ${name}`));
    if (override.min !== undefined) problems.push(invalid(`${path}.min: ${metric} takes max, not min`));
    const overridden =
      override.max === undefined ? undefined : thresholdProblem(parsed, override.max, `${path}.max`, metric);
    if (overridden) problems.push(overridden);
    if (stage === undefined) problems.push(unsupported(`${path}: a threshold of a single stage is not judged yet`));
  }
  return problems;
}

function thresholdProblem(
  parsed: ParsedMetric,
  max: number | undefined,
  path: string,
  metric: string,
): Problem | undefined {
  if (max === undefined) return invalid(`${path}: ${metric} needs a max`);
  if (parsed.kind === "latency") {
    return max > 0 && max < Number.POSITIVE_INFINITY
      ? undefined
      : invalid(`${path}: ${metric} is ${max}; a latency's max is a number of milliseconds above 0`);
  }
  return max > 0 && max < 1
    ? undefined
    : invalid(`${path}: ${metric} is ${max}; a rate's max is a fraction above 0 and below 1`);
}

function parseMetric(metric: string): ParsedMetric | undefined {
  if (metric === "error_rate") return { kind: "error_rate" };
  if (metric === "tool_failure_rate") return { kind: "tool_failure" };
  const quantile = /^latency_p(\d{1,2})(?:\.(\d))?_ms$/.exec(metric);
  if (!quantile) return undefined;
  return { kind: "latency", permille: Number(quantile[1]) * 10 + Number(quantile[2] ?? 0) };
}

/** What two guardrails must not share. `latency_p95_ms` and `latency_p95.0_ms` are one. */
function identityOf(guardrail: Guardrail): string {
  const parsed = parseMetric(guardrail.metric);
  const what = parsed?.kind === "latency" ? `latency ${parsed.permille}` : guardrail.metric;
  return guardrail.relativeTo === undefined ? what : `${what} relative`;
}

function testOf(guardrail: Guardrail, stage: string | undefined): Test | undefined {
  const parsed = parseMetric(guardrail.metric);
  const max = (stage === undefined ? undefined : guardrail.stages?.[stage]?.max) ?? guardrail.max;
  if (parsed === undefined || max === undefined) return undefined;
  // p95 <= limit exactly when at most 5 % take longer. In thousandths, so that p0 is the nearest double to 0.05.
  return parsed.kind === "latency"
    ? { kind: "latency", p0: (1_000 - parsed.permille) / 1_000, limitMs: max }
    : { kind: parsed.kind, p0: max };
}

function shareProblems(drafts: readonly Draft[]): Problem[] {
  const automatic = drafts.filter(isAutomatic);
  const explicit = automatic.filter(({ guardrail }) => guardrail.share !== undefined);
  if (explicit.length === 0) return [];
  const sum = explicit.reduce((total, { guardrail }) => total + (guardrail.share ?? 0), 0);
  const fields = explicit.map(({ field }) => `${field}.share`).join(", ");
  if (explicit.length === automatic.length) {
    const isWhole = Math.abs(sum - 1) <= SHARE_TOLERANCE;
    return isWhole ? [] : [invalid(`${fields}: every automatic guardrail has a share, and they sum to ${sum}, not 1`)];
  }
  return sum < 1 - SHARE_TOLERANCE
    ? []
    : [invalid(`${fields}: the shares sum to ${sum} and leave nothing for the guardrails without one`)];
}

/** Explicit shares as they are; the rest goes to the other automatic guardrails by kind, equally within a kind. */
function sharesOf(drafts: readonly Draft[]): number[] {
  const automatic = drafts.filter(isAutomatic);
  const explicitSum = automatic.reduce((sum, { guardrail }) => sum + (guardrail.share ?? 0), 0);
  const implicit = automatic.filter(({ guardrail }) => guardrail.share === undefined);
  const countOfKind = (kind: GuardrailKind) => implicit.filter(({ test }) => test.kind === kind).length;
  const part = ({ test }: Draft) => PART_OF_KIND[test.kind] / countOfKind(test.kind);
  const parts = implicit.reduce((sum, draft) => sum + part(draft), 0);
  return drafts.map((draft) => {
    if (!isAutomatic(draft)) return 0;
    if (draft.guardrail.share !== undefined) return draft.guardrail.share;
    return ((1 - explicitSum) * part(draft)) / parts;
  });
}

function isAutomatic({ guardrail }: Draft): boolean {
  return guardrail.mode === "automatic";
}

function refusalOf(problems: readonly Problem[]): Refusal {
  const first = problems.find((problem) => problem.code === "policy_invalid") ?? (problems[0] as Problem);
  return {
    code: first.code,
    message:
      problems.length === 1 ? first.text : `${problems.length} problems with the guardrails, such as ${first.text}`,
    hint:
      first.code === "policy_invalid"
        ? "Correct the named fields; a guardrail looks like {metric: error_rate, max: 0.05}."
        : "This version judges error_rate, latency_pQ_ms and tool_failure_rate against a max, in mode automatic or observe, with action rollback.",
    problems: problems.map((problem) => problem.text),
  };
}
