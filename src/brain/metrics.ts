/**
 * What each metric of a policy takes and tests (DESIGN 11, BRAIN 2.1).
 */
import type { Guardrail } from "@flagback/schemas";
import type { GuardrailKind, RelativeTest } from "./compiled.ts";

export type ParsedMetric =
  | { readonly kind: "error_rate" | "tool_failure" | "quality" | "cost" | "budget" }
  | { readonly kind: "latency"; readonly permille: number }
  | { readonly kind: "safety" | "custom"; readonly field: string };

/** The numbers of a guardrail; a stage's own replace some of them. */
export type Numbers = Pick<Guardrail, "max" | "min" | "cap" | "p50" | "p90" | "p95" | "p99" | "maxOddsRatio">;
type NumberField = keyof Numbers;

/** A problem with one number of a guardrail. */
export interface NumberProblem {
  readonly field: NumberField;
  readonly text: string;
}

/** The test that a guardrail's numbers make. */
export interface Test {
  readonly kind: GuardrailKind;
  readonly p0: number;
  readonly limitMs?: number;
  readonly limit?: number;
  readonly cap?: number;
  readonly field?: string;
  readonly relative?: RelativeTest;
}

const FIELDS: readonly NumberField[] = ["max", "min", "cap", "p50", "p90", "p95", "p99", "maxOddsRatio"];
const QUANTILES = { p50: 500, p90: 900, p95: 950, p99: 990 } as const;
type Quantile = keyof typeof QUANTILES;
const QUANTILE_FIELDS = Object.keys(QUANTILES) as Quantile[];
/** BRAIN 2.8: the default odds ratio, and how much lower than the absolute threshold the floor is. */
const DEFAULT_ODDS_RATIO = 1.5;
const FLOOR_DIVISOR = 5;
/** The absolute threshold that a floor derives from where the policy names none. */
const DEFAULT_P0 = 0.05;

/** `undefined` where the metric is none that is known. */
export function parseMetric(metric: string): ParsedMetric | undefined {
  switch (metric) {
    case "error_rate":
      return { kind: "error_rate" };
    case "tool_failure_rate":
      return { kind: "tool_failure" };
    case "quality":
      return { kind: "quality" };
    case "cost_usd_mean":
      return { kind: "cost" };
    case "spend_usd_per_hour":
      return { kind: "budget" };
  }
  const latency = /^latency_p(\d{1,2})(?:\.(\d))?_ms$/.exec(metric);
  if (latency) return { kind: "latency", permille: Number(latency[1]) * 10 + Number(latency[2] ?? 0) };
  const named = /^(safety|custom)\.(\w+)$/.exec(metric);
  if (!named) return undefined;
  return { kind: named[1] === "safety" ? "safety" : "custom", field: named[2] ?? "" };
}

/** Whether the metric has an indicator by which a candidate can be compared with stable. */
export function isComparable({ kind }: ParsedMetric): boolean {
  return kind === "error_rate" || kind === "latency" || kind === "quality" || kind === "tool_failure";
}

/** All that is wrong with the numbers of a guardrail. `absolute` is the same metric's guardrail against a fixed threshold. */
export function numberProblems(
  metric: string,
  parsed: ParsedMetric,
  numbers: Numbers,
  isRelative: boolean,
  absolute: Numbers | undefined,
): NumberProblem[] {
  const takes = fieldsOf(parsed, numbers, isRelative);
  const problems = FIELDS.filter((field) => numbers[field] !== undefined && !takes.includes(field)).map((field) => ({
    field,
    text: `${metric} takes ${takes.join(" and ")}, not ${field}`,
  }));
  const found = isRelative
    ? relativeProblem(metric, parsed, numbers, absolute)
    : absoluteProblem(metric, parsed, numbers);
  return found ? [...problems, found] : problems;
}

/** The test of numbers without a problem. */
export function testOf(
  parsed: ParsedMetric,
  numbers: Numbers,
  isRelative: boolean,
  absolute: Numbers | undefined,
): Test {
  return isRelative ? relativeTest(parsed, numbers, absolute) : absoluteTest(parsed, numbers);
}

function fieldsOf(parsed: ParsedMetric, numbers: Numbers, isRelative: boolean): readonly NumberField[] {
  if (isRelative) return parsed.kind === "quality" ? ["maxOddsRatio", "min"] : ["maxOddsRatio", "max"];
  switch (parsed.kind) {
    case "quality":
      return ["min"];
    case "cost":
      return ["max", "cap"];
    case "custom": {
      const quantile = quantileOf(numbers);
      return quantile === undefined ? ["max", "cap"] : [quantile];
    }
    case "error_rate":
    case "tool_failure":
    case "latency":
    case "safety":
    case "budget":
      return ["max"];
  }
}

function absoluteProblem(metric: string, parsed: ParsedMetric, numbers: Numbers): NumberProblem | undefined {
  const { max, min } = numbers;
  switch (parsed.kind) {
    case "error_rate":
    case "tool_failure":
      return rateProblem(metric, max);
    case "latency":
    case "budget":
      return aboveZeroProblem(metric, max, parsed.kind === "latency" ? "milliseconds" : "dollars");
    case "safety":
      return max === 0 ? undefined : rateProblem(metric, max, "0 (one event stops) or ");
    case "quality":
      return qualityProblem(metric, min);
    case "cost":
      return meanProblem(metric, numbers);
    case "custom": {
      const quantile = quantileOf(numbers);
      if (quantile === undefined) return meanProblem(metric, numbers);
      return Number.isFinite(numbers[quantile])
        ? undefined
        : { field: quantile, text: `${metric} is ${numbers[quantile]}; a quantile's limit is a number` };
    }
  }
}

function rateProblem(metric: string, max: number | undefined, or = ""): NumberProblem | undefined {
  if (max === undefined) return { field: "max", text: `${metric} needs a max` };
  if (max > 0 && max < 1) return undefined;
  return { field: "max", text: `${metric} is ${max}; a rate's max is ${or}a fraction above 0 and below 1` };
}

function aboveZeroProblem(metric: string, max: number | undefined, unit: string): NumberProblem | undefined {
  if (max === undefined) return { field: "max", text: `${metric} needs a max` };
  if (max > 0 && max < Number.POSITIVE_INFINITY) return undefined;
  return { field: "max", text: `${metric} is ${max}; its max is a number of ${unit} above 0` };
}

function qualityProblem(metric: string, min: number | undefined): NumberProblem | undefined {
  if (min === undefined) return { field: "min", text: `${metric} needs a min` };
  if (min > 0 && min < 1) return undefined;
  return { field: "min", text: `${metric} is ${min}; its min is a fraction above 0 and below 1` };
}

function meanProblem(metric: string, { max, cap }: Numbers): NumberProblem | undefined {
  if (cap === undefined) return { field: "cap", text: `${metric} needs a cap, above which a value counts as the cap` };
  if (!(cap > 0 && cap < Number.POSITIVE_INFINITY)) return { field: "cap", text: `${metric} has a cap of ${cap}` };
  if (max === undefined) return { field: "max", text: `${metric} needs a max` };
  if (max > 0 && max < cap) return undefined;
  return { field: "max", text: `${metric} is ${max}; a mean's max lies above 0 and below its cap, ${cap}` };
}

function relativeProblem(
  metric: string,
  parsed: ParsedMetric,
  numbers: Numbers,
  absolute: Numbers | undefined,
): NumberProblem | undefined {
  const { maxOddsRatio } = numbers;
  if (maxOddsRatio !== undefined && !(maxOddsRatio >= 1 && maxOddsRatio < Number.POSITIVE_INFINITY)) {
    return { field: "maxOddsRatio", text: `${metric} has an odds ratio of ${maxOddsRatio}; it is at least 1` };
  }
  const { max = absolute?.max, min = absolute?.min } = numbers;
  switch (parsed.kind) {
    case "latency":
      return aboveZeroProblem(metric, max, "milliseconds");
    case "quality":
      return qualityProblem(metric, min);
    default:
      return max === undefined ? undefined : rateProblem(metric, max);
  }
}

function absoluteTest(parsed: ParsedMetric, numbers: Numbers): Test {
  const { max = 0, min = 0, cap = 1 } = numbers;
  switch (parsed.kind) {
    case "error_rate":
    case "tool_failure":
      return { kind: parsed.kind, p0: max };
    case "latency":
      // p95 <= limit exactly when at most 5 % take longer. In thousandths, so that p0 is the nearest double to 0.05.
      return { kind: "latency", p0: (1_000 - parsed.permille) / 1_000, limitMs: max };
    case "quality":
      return { kind: "quality", p0: badnessOfQuality(min), limit: min };
    case "cost":
      return { kind: "cost", p0: max / cap, limit: max, cap };
    case "budget":
      return { kind: "budget", p0: 0, limit: max };
    case "safety":
      return { kind: max === 0 ? "critical" : "safety", p0: max, field: parsed.field };
    case "custom": {
      const quantile = quantileOf(numbers);
      const { field } = parsed;
      return quantile === undefined
        ? { kind: "custom_mean", p0: max / cap, limit: max, cap, field }
        : {
            kind: "custom_quantile",
            p0: (1_000 - QUANTILES[quantile]) / 1_000,
            limit: numbers[quantile] as number,
            field,
          };
    }
  }
}

function relativeTest(parsed: ParsedMetric, numbers: Numbers, absolute: Numbers | undefined): Test {
  const { max = absolute?.max, min = absolute?.min, maxOddsRatio = DEFAULT_ODDS_RATIO } = numbers;
  const withFloor = (p0: number) => ({ p0, relative: { maxOddsRatio, floor: p0 / FLOOR_DIVISOR } });
  switch (parsed.kind) {
    case "latency":
      return { kind: "latency", limitMs: max as number, ...withFloor((1_000 - parsed.permille) / 1_000) };
    case "quality":
      return { kind: "quality", limit: min as number, ...withFloor(badnessOfQuality(min as number)) };
    default:
      return { kind: parsed.kind as "error_rate" | "tool_failure", ...withFloor(max ?? DEFAULT_P0) };
  }
}

/** 1 - min, as the nearest double to what a person would write. */
function badnessOfQuality(min: number): number {
  return Math.round((1 - min) * 1e12) / 1e12;
}

/** The quantile that a custom number is held to, if it is one. */
export function quantileOf(numbers: Numbers): Quantile | undefined {
  return QUANTILE_FIELDS.find((field) => numbers[field] !== undefined);
}
