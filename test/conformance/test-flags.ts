/**
 * The flags that the specification's scenarios evaluate, in flagd's format: what the server and the provider speak.
 */
import type { FlagDefinition } from "@flagback/schemas";

/** A flag as the specification's `test-flags.json` writes it. */
export interface SpecFlag {
  readonly variants: FlagDefinition["variants"];
  readonly defaultVariant?: string | null;
  readonly disabled?: boolean;
  /** A CEL expression that gives a variant, or an empty text for the default. */
  readonly contextEvaluator?: string;
  readonly flagMetadata?: Record<string, string | number | boolean> | null;
}

export function flagdDefinition(flag: SpecFlag): FlagDefinition {
  const { variants, defaultVariant, disabled = false, contextEvaluator, flagMetadata } = flag;
  return {
    state: disabled ? "DISABLED" : "ENABLED",
    variants,
    ...(defaultVariant == null ? {} : { defaultVariant }),
    ...(contextEvaluator === undefined ? {} : { targeting: targetingOf(contextEvaluator) }),
    ...(flagMetadata == null ? {} : { metadata: flagMetadata }),
  };
}

/**
 * JsonLogic for the part of CEL that the specification's flags use: comparisons joined by `&&`, then one variant.
 * @throws on anything else, so that a new expression is never evaluated as something it is not
 */
function targetingOf(expression: string): NonNullable<FlagDefinition["targeting"]> {
  const [, condition, variant] = /^(.+?) \? '(\w+)' : ''$/.exec(expression) ?? [];
  if (condition === undefined) throw new Error(`no JsonLogic is known for the expression ${expression}`);
  const terms = condition.split(" && ").map(termOf);
  return { if: [terms.length === 1 ? terms[0] : { and: terms }, variant, null] };
}

function termOf(term: string): unknown {
  const not = /^!(\w+)$/.exec(term);
  if (not) return { "!": [{ var: not[1] }] };
  const equal = /^(\w+) == '([^']*)'$/.exec(term);
  if (equal) return { "==": [{ var: equal[1] }, equal[2]] };
  const greater = /^(\w+) > (\d+)$/.exec(term);
  if (greater) return { ">": [{ var: greater[1] }, Number(greater[2])] };
  throw new Error(`no JsonLogic is known for the term ${term}`);
}
