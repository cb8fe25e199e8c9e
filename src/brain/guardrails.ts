/**
 * Turns a policy's guardrails into what the brain judges, or says all that is wrong with them.
 */
import type { Guardrail, Policy, Refusal } from "@flagback/schemas";
import type { CompiledGuardrail } from "./compiled.ts";
import {
  isComparable,
  type Numbers,
  numberProblems,
  type ParsedMetric,
  parseMetric,
  quantileOf,
  testOf,
} from "./metrics.ts";
import { type Claim, shareProblem, sharesOf, takesShare } from "./shares.ts";

export type CompiledGuardrails =
  | { readonly ok: true; readonly guardrails: CompiledGuardrail[] }
  | { readonly ok: false; readonly refusal: Refusal };

/**
 * Compiles the guardrails of a policy; with `stage`, by that stage's own thresholds, which may only be stricter. Names, kinds,
 * order and shares are those of every other stage.
 */
export function compileGuardrails(policy: Policy, stage?: string): CompiledGuardrails {
  const problems: Problem[] = [];
  const drafts: Draft[] = [];
  const seen = new Map<string, string>();
  const stageNames = new Set([...policy.stages, ...(policy.fastTrack?.stages ?? [])].map((known) => known.name));

  policy.guardrails.forEach((guardrail, index) => {
    const field = `guardrails[${index}]`;
    const parsed = parseMetric(guardrail.metric);
    if (parsed === undefined) {
      problems.push(unsupported(`${field}.metric: ${guardrail.metric} is not known`));
      return;
    }
    const found = problemsOf({
      guardrail,
      parsed,
      field,
      absolute: absoluteOf(policy, guardrail, parsed, undefined),
      stageNames,
    });
    const identity = identityOf(guardrail, parsed);
    const earlier = seen.get(identity);
    if (earlier !== undefined)
      found.push(invalid(`${field}.metric: ${guardrail.metric} is already judged by ${earlier}`));
    else seen.set(identity, field);
    problems.push(...found);
    if (found.length > 0) return;
    const isRelative = guardrail.relativeTo !== undefined;
    const test = testOf(parsed, numbersAt(guardrail, stage), isRelative, absoluteOf(policy, guardrail, parsed, stage));
    drafts.push({ guardrail, test, mode: guardrail.mode, share: guardrail.share, field });
  });

  if (policy.guardrails.every((guardrail) => guardrail.mode === "observe")) {
    problems.push(invalid("guardrails: none has mode automatic or approval, so nothing would ever roll back"));
  }
  if (problems.length === 0) problems.push(...statedShareProblems(drafts));
  if (problems.length > 0) return { ok: false, refusal: refusalOf(problems) };

  const shares = sharesOf(drafts);
  const guardrails = drafts.map(({ guardrail, test, mode }, index): CompiledGuardrail => {
    return { name: nameOf(guardrail), ...test, mode, action: guardrail.action, share: shares[index] ?? 0 };
  });
  return { ok: true, guardrails };
}

interface Problem {
  readonly code: "guardrail_unsupported" | "policy_invalid";
  readonly text: string;
}

interface Draft extends Claim {
  readonly guardrail: Guardrail;
  readonly test: ReturnType<typeof testOf>;
}

interface Subject {
  readonly guardrail: Guardrail;
  readonly parsed: ParsedMetric;
  /** Where the guardrail stands in the policy. */
  readonly field: string;
  readonly absolute: Numbers | undefined;
  readonly stageNames: ReadonlySet<string>;
}

function invalid(text: string): Problem {
  return { code: "policy_invalid", text };
}

function unsupported(text: string): Problem {
  return { code: "guardrail_unsupported", text };
}

function problemsOf(subject: Subject): Problem[] {
  const { guardrail, parsed, field, absolute } = subject;
  const { metric } = guardrail;
  const isRelative = guardrail.relativeTo !== undefined;
  if (isRelative && !isComparable(parsed)) {
    return [invalid(`${field}.relativeTo: ${metric} has no indicator by which it could be compared with stable`)];
  }
  const problems = numberProblems(metric, parsed, guardrail, isRelative, absolute).map((problem) =>
    invalid(`${field}.${problem.field}: ${problem.text}`),
  );
  if (parsed.kind === "latency" && parsed.permille === 0) {
    problems.push(invalid(`${field}.metric: ${metric} allows every run to be too slow; use a quantile above 0`));
  }
  const isSound = problems.length === 0;
  for (const name of Object.keys(guardrail.stages ?? {})) problems.push(...stageProblemsOf(subject, name, isSound));
  return problems;
}

/** What is wrong with a stage's own thresholds; they are compared with the guardrail's where those are `isSound`. */
function stageProblemsOf(subject: Subject, stage: string, isSound: boolean): Problem[] {
  const { guardrail, parsed, field, absolute, stageNames } = subject;
  const path = `${field}.stages.${stage}`;
  const problems = stageNames.has(stage) ? [] : [invalid(`${path}: the policy has no stage ${stage}`)];
  const override = guardrail.stages?.[stage] ?? {};
  const isRelative = guardrail.relativeTo !== undefined;
  const numbers = numbersOf(guardrail);
  const merged = { ...numbers, ...override };
  // What is wrong with the guardrail itself is said with it, once.
  const own = numberProblems(guardrail.metric, parsed, merged, isRelative, absolute).filter((problem) =>
    Object.hasOwn(override, problem.field),
  );
  problems.push(...own.map((problem) => invalid(`${path}.${problem.field}: ${problem.text}`)));
  if (!isSound || own.length > 0) return problems;
  const general = testOf(parsed, numbers, isRelative, absolute);
  const special = testOf(parsed, merged, isRelative, absolute);
  if (special.kind !== general.kind) {
    problems.push(invalid(`${path}: one event stops in every stage or in none, because it takes no part of alpha`));
  } else if (isLooser(special, general)) {
    const [limit = "max", value] = Object.entries(override)[0] ?? [];
    const usual = numbers[limit as "max"] ?? absolute?.[limit as "max"] ?? general.p0;
    problems.push(
      invalid(`${path}.${limit}: ${value} is looser than the policy's ${usual}; a stage may only be stricter`),
    );
  }
  return problems;
}

/** Whether a run may be worse under `a` than under `b`. Quality's least and the means are in p0. */
function isLooser(a: ReturnType<typeof testOf>, b: ReturnType<typeof testOf>): boolean {
  if (a.kind === "budget") return (a.limit ?? 0) > (b.limit ?? 0);
  return a.p0 > b.p0 || (a.limitMs ?? 0) > (b.limitMs ?? 0);
}

/** Every latency limit that some stage judges by, ascending: runtimes say when a run passes one. */
export function latencyLimitsOf(policy: Policy): number[] {
  const hasOwn = policy.guardrails.some(({ stages }) => stages !== undefined);
  const stages = hasOwn ? [undefined, ...policy.stages.map(({ name }) => name)] : [undefined];
  const limits = stages.flatMap((stage) => {
    const compiled = compileGuardrails(policy, stage);
    return compiled.ok ? compiled.guardrails.flatMap((guardrail) => guardrail.limitMs ?? []) : [];
  });
  return [...new Set(limits)].sort((a, b) => a - b);
}

/** The guardrail of the same metric against a fixed threshold, from which one that compares takes what it does not state. */
function absoluteOf(
  policy: Policy,
  { relativeTo }: Guardrail,
  parsed: ParsedMetric,
  stage: string | undefined,
): Numbers | undefined {
  if (relativeTo === undefined) return undefined;
  const found = policy.guardrails.find((other) => {
    const same = parseMetric(other.metric);
    return other.relativeTo === undefined && same !== undefined && metricKey(same) === metricKey(parsed);
  });
  return found === undefined ? undefined : numbersAt(found, stage);
}

function numbersAt(guardrail: Guardrail, stage: string | undefined): Numbers {
  const numbers = numbersOf(guardrail);
  return stage === undefined ? numbers : { ...numbers, ...guardrail.stages?.[stage] };
}

function numbersOf({ max, min, cap, p50, p90, p95, p99, maxOddsRatio }: Guardrail): Numbers {
  return { max, min, cap, p50, p90, p95, p99, maxOddsRatio };
}

/** The metric, with the quantile of a custom number and with what it is compared to. */
function nameOf(guardrail: Guardrail): string {
  const quantile = quantileOf(guardrail);
  const name = quantile === undefined ? guardrail.metric : `${guardrail.metric} ${quantile}`;
  return guardrail.relativeTo === undefined ? name : `${name} vs stable`;
}

/** What two guardrails must not share. A custom number may have a mean and several quantiles. */
function identityOf(guardrail: Guardrail, parsed: ParsedMetric): string {
  return `${metricKey(parsed)} ${quantileOf(guardrail) ?? ""} ${guardrail.relativeTo ?? ""}`;
}

/** `latency_p95_ms` and `latency_p95.0_ms` are one. */
function metricKey(parsed: ParsedMetric): string {
  switch (parsed.kind) {
    case "latency":
      return `latency ${parsed.permille}`;
    case "safety":
    case "custom":
      return `${parsed.kind} ${parsed.field}`;
    default:
      return parsed.kind;
  }
}

function statedShareProblems(drafts: readonly Draft[]): Problem[] {
  const idle = drafts.filter((draft) => draft.share !== undefined && !takesShare(draft));
  if (idle.length > 0) {
    return idle.map(({ field, mode }) =>
      invalid(
        mode === "observe"
          ? `${field}.share: a guardrail that only observes takes no share`
          : `${field}.share: a critical event and a budget are no statistics and take no share`,
      ),
    );
  }
  const problem = shareProblem(drafts);
  return problem === undefined ? [] : [invalid(problem)];
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
        : "Name a metric that this version knows; docs/brain.md lists them.",
    problems: problems.map((problem) => problem.text),
  };
}
