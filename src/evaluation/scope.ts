/**
 * Where a kill switch's entry applies (DESIGN 3). Everything unclear matches: a switch fails closed.
 */

/** What an evaluation or a caller says about itself: OpenFeature's evaluation context, or less. */
export type Attributes = Readonly<Record<string, unknown>>;

interface Condition {
  readonly attribute: string;
  readonly value: string;
}

/** A scope taken apart once, so that reading a switch costs no parsing. Every condition must match; none is `*`. */
export type ParsedScope = readonly Condition[];

/** Takes a scope apart. A part that is no `attribute=value` is left out, so that a scope of a later protocol matches wider, never narrower. */
export function parseScope(scope: string): ParsedScope {
  if (scope === "*") return [];
  const conditions: Condition[] = [];
  for (const part of scope.split(",")) {
    const equals = part.indexOf("=");
    if (equals > 0) conditions.push({ attribute: part.slice(0, equals), value: part.slice(equals + 1) });
  }
  return conditions;
}

/** Whether every condition matches. An attribute that the context lacks, or that is no plain value, matches. */
export function parsedScopeMatches(scope: ParsedScope, context: Attributes): boolean {
  for (const { attribute, value } of scope) {
    const actual = Object.hasOwn(context, attribute) ? context[attribute] : undefined;
    if (isPlain(actual) && String(actual) !== value) return false;
  }
  return true;
}

/** Whether a scope such as `*`, `agent=support-agent` or `agent=a,tool=refund` covers the context. */
export function scopeMatches(scope: string, context: Attributes): boolean {
  return parsedScopeMatches(parseScope(scope), context);
}

function isPlain(value: unknown): value is string | number | boolean | bigint {
  return (
    typeof value === "string" || typeof value === "number" || typeof value === "boolean" || typeof value === "bigint"
  );
}
