/**
 * The policy to try on a recording: a policy of its own, or the one in a configuration file.
 */
import { FlagbackError, Policy } from "@flagback/schemas";
import { closest } from "fastest-levenshtein";
import { parseDocument } from "yaml";
import { desired } from "../config/parse-config.ts";
import { describeProblems } from "../config/problems.ts";

/** Overrides of `--alpha` and `--set`. */
export interface PolicyOverrides {
  readonly alpha?: number;
  /** Threshold by guardrail. */
  readonly thresholds: ReadonlyMap<string, number>;
}

/** @throws FlagbackError where the text is no policy, holds several, or lacks a guardrail that is to be set. */
export function policyOf(text: string, overrides: PolicyOverrides): Policy {
  const document = parseDocument(text, { prettyErrors: true });
  const error = document.errors[0];
  if (error)
    throw new FlagbackError({ code: "malformed_yaml", message: error.message, hint: "Correct the YAML there." });
  const policy = changed(found(document.toJS({ maxAliasCount: 100 })), overrides);
  const parsed = Policy.safeParse(policy);
  if (parsed.success) return parsed.data;
  const problems = describeProblems(parsed.error.issues, Policy);
  throw new FlagbackError({
    code: "policy_invalid",
    message: `The policy is not valid: ${problems.join("; ")}.`,
    hint: "Correct the file, or what --alpha and --set say.",
    problems,
  });
}

function found(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw none();
  if ("guardrails" in value) return value as Record<string, unknown>;
  if ("policy" in value && typeof value.policy === "object" && value.policy !== null)
    return value.policy as Record<string, unknown>;
  const policies = desired(value).aliases.flatMap((alias) => alias.policy ?? []);
  const [policy] = policies;
  if (!policy || policies.length > 1) throw none(policies.length);
  return policy;
}

function changed(policy: Record<string, unknown>, { alpha, thresholds }: PolicyOverrides): Record<string, unknown> {
  const guardrails = Array.isArray(policy.guardrails) ? (policy.guardrails as Record<string, unknown>[]) : [];
  const names = guardrails.map((guardrail) => String(guardrail.metric));
  for (const name of thresholds.keys()) {
    if (names.includes(name)) continue;
    throw new FlagbackError({
      code: "usage",
      message: `--set ${name}: the policy has no such guardrail.`,
      hint:
        names.length > 0
          ? `Did you mean ${closest(name, names)}? It has ${names.join(", ")}.`
          : "The policy has no guardrail.",
    });
  }
  return {
    ...policy,
    ...(alpha === undefined ? {} : { alpha }),
    guardrails: guardrails.map((guardrail) => {
      const threshold = thresholds.get(String(guardrail.metric));
      if (threshold === undefined) return guardrail;
      const bound = ["max", "min", "p50", "p90", "p95", "p99"].find((key) => guardrail[key] !== undefined) ?? "max";
      return { ...guardrail, [bound]: threshold };
    }),
  };
}

function none(count = 0): FlagbackError {
  return new FlagbackError({
    code: "usage",
    message: count > 1 ? `The file holds ${count} policies.` : "The file holds no policy.",
    hint: "Give one with guardrails, or a configuration file with one alias that has a policy.",
  });
}
