import { compileGuardrails } from "@flagback/core";
import type { Policy, PolicyInput } from "@flagback/schemas";
import { describe, expect, test } from "vitest";
import { policy } from "./support-brain.ts";

type Guardrails = PolicyInput["guardrails"];

function compiled(guardrails: Guardrails, stage?: string) {
  const result = compileGuardrails(policy(guardrails), stage);
  if (!result.ok) throw new Error(result.refusal.message);
  return result.guardrails;
}

function refusal(guardrails: Guardrails | Policy) {
  const result = compileGuardrails(Array.isArray(guardrails) ? policy(guardrails) : guardrails);
  if (result.ok) throw new Error("the policy was not refused");
  return result.refusal;
}

const seed: Guardrails = [
  { metric: "error_rate", max: 0.05 },
  { metric: "latency_p95_ms", max: 1_800 },
  { metric: "tool_failure_rate", max: 0.03 },
];

describe("compiling", () => {
  test("the seed's guardrails become mean tests with the shares of their kinds", () => {
    const guardrails = compiled(seed);
    expect(guardrails.map(({ name, kind, p0, limitMs, mode }) => ({ name, kind, p0, limitMs, mode }))).toEqual([
      { name: "error_rate", kind: "error_rate", p0: 0.05, limitMs: undefined, mode: "automatic" },
      { name: "latency_p95_ms", kind: "latency", p0: 0.05, limitMs: 1_800, mode: "automatic" },
      { name: "tool_failure_rate", kind: "tool_failure", p0: 0.03, limitMs: undefined, mode: "automatic" },
    ]);
    // BRAIN 2.5: .25, .15, .15, renormalised by their sum .55.
    expect(guardrails[0]!.share).toBeCloseTo(0.25 / 0.55, 15);
    expect(guardrails[1]!.share).toBeCloseTo(0.15 / 0.55, 15);
    expect(guardrails[2]!.share).toBeCloseTo(0.15 / 0.55, 15);
  });

  test("the result is plain JSON", () => {
    expect(JSON.parse(JSON.stringify(compiled(seed)))).toEqual(compiled(seed));
  });

  test("a quantile of latency allows exactly the rest of the runs to be slower", () => {
    const p0 = (metric: string) => compiled([{ metric, max: 100 }])[0]!.p0;
    expect([p0("latency_p50_ms"), p0("latency_p99_ms"), p0("latency_p99.9_ms")]).toEqual([0.5, 0.01, 0.001]);
  });

  test("guardrails of one kind share that kind's part", () => {
    const shares = compiled([seed[0]!, { metric: "latency_p50_ms", max: 500 }, seed[1]!]).map(({ share }) => share);
    // .25 : .075 : .075, of .4.
    expect(shares[0]).toBeCloseTo(0.625, 15);
    expect(shares[1]).toBeCloseTo(0.1875, 15);
    expect(shares[2]).toBeCloseTo(0.1875, 15);
  });

  test("a guardrail that only observes takes no share", () => {
    const guardrails = compiled([seed[0]!, { metric: "latency_p95_ms", max: 1_800, mode: "observe" }]);
    expect(guardrails.map(({ mode, share }) => [mode, share])).toEqual([
      ["automatic", 1],
      ["observe", 0],
    ]);
  });

  test("a stated share is kept, and the others share the rest", () => {
    const shares = compiled([{ ...seed[0]!, share: 0.8 }, seed[1]!, seed[2]!]).map(({ share }) => share);
    expect(shares[0]).toBe(0.8);
    expect(shares[1]).toBeCloseTo(0.1, 15);
    expect(shares[2]).toBeCloseTo(0.1, 15);
  });

  test("a stage's own threshold applies when the stage is named", () => {
    const guardrails: Guardrails = [{ ...seed[0]!, stages: { canary: { max: 0.1 } } }];
    expect(compiled(guardrails, "canary")[0]!.p0).toBe(0.1);
    expect(compiled(guardrails, "full")[0]!.p0).toBe(0.05);
  });
});

describe("refusing", () => {
  test.each<[string, Guardrails[number], string]>([
    ["quality", { metric: "quality", min: 0.8 }, "guardrails[1].metric"],
    ["a mean cost", { metric: "cost_usd_mean", max: 0.1, cap: 1 }, "guardrails[1].metric"],
    ["a budget", { metric: "spend_usd_per_hour", max: 200 }, "guardrails[1].metric"],
    ["a safety flag", { metric: "safety.pii_leak", max: 0 }, "guardrails[1].metric"],
    ["a custom number", { metric: "custom.steps", p95: 40 }, "guardrails[1].metric"],
    ["a comparison", { metric: "error_rate", relativeTo: "stable", maxOddsRatio: 1.5 }, "guardrails[1].relativeTo"],
    ["approval", { metric: "latency_p95_ms", max: 9, mode: "approval" }, "guardrails[1].mode"],
    ["freeze", { metric: "latency_p95_ms", max: 9, action: "freeze" }, "guardrails[1].action"],
    ["switch", { metric: "latency_p95_ms", max: 9, action: "switch" }, "guardrails[1].action"],
    ["one stage's threshold", { ...seed[1]!, stages: { canary: { max: 9 } } }, "guardrails[1].stages.canary"],
  ])("%s is not judged yet, and the refusal names the field", (_, guardrail, field) => {
    const { code, message, hint } = refusal([seed[0]!, guardrail]);
    expect(code).toBe("guardrail_unsupported");
    expect(message).toMatch(new RegExp(`^${field.replaceAll(/[[\].]/g, "\\$&")}: `));
    expect(hint).not.toBe("");
  });

  test.each<[string, Guardrails[number], string]>([
    ["a missing max", { metric: "error_rate" }, "guardrails[0].max"],
    ["a rate of 0", { metric: "error_rate", max: 0 }, "guardrails[0].max"],
    ["a rate of 1", { metric: "tool_failure_rate", max: 1 }, "guardrails[0].max"],
    ["a rate above 1", { metric: "error_rate", max: 5 }, "guardrails[0].max"],
    ["a latency of 0", { metric: "latency_p95_ms", max: 0 }, "guardrails[0].max"],
    ["the 0th percentile", { metric: "latency_p0_ms", max: 10 }, "guardrails[0].metric"],
    ["a min", { metric: "error_rate", max: 0.05, min: 0.01 }, "guardrails[0].min"],
    ["a cap", { metric: "error_rate", max: 0.05, cap: 1 }, "guardrails[0].cap"],
    [
      "an odds ratio without a comparison",
      { metric: "error_rate", max: 0.05, maxOddsRatio: 2 },
      "guardrails[0].maxOddsRatio",
    ],
    ["shares that don't sum to 1", { ...seed[0]!, share: 0.4 }, "guardrails[0].share"],
  ])("%s is impossible, and the refusal names the field", (_, guardrail, field) => {
    const { code, problems } = refusal([guardrail]);
    expect(code).toBe("policy_invalid");
    expect(problems![0]!.startsWith(`${field}: `)).toBe(true);
  });

  test("shares that leave nothing for the others are impossible", () => {
    expect(refusal([{ ...seed[0]!, share: 1 }, seed[1]!]).message).toMatch(/^guardrails\[0\]\.share: /);
  });

  test("an observed guardrail with a share is impossible", () => {
    expect(refusal([seed[0]!, { ...seed[1]!, mode: "observe", share: 0.5 }]).message).toMatch(
      /^guardrails\[1\]\.share: /,
    );
  });

  test("a stage that the policy lacks, and its impossible threshold, are both named", () => {
    const { code, problems } = refusal([{ ...seed[0]!, stages: { canry: { max: 2, min: 0.1 } } }]);
    expect(code).toBe("policy_invalid");
    expect(problems!.join("\n")).toMatch(/stages\.canry: the policy has no stage canry/);
    expect(problems!.join("\n")).toMatch(/stages\.canry\.max: error_rate is 2/);
    expect(problems!.join("\n")).toMatch(/stages\.canry\.min: /);
  });

  test.each([
    ["error_rate", "error_rate"],
    ["latency_p95_ms", "latency_p95.0_ms"],
  ])("a metric is judged once: %s and %s", (first, second) => {
    const { code, message } = refusal([
      { metric: first, max: 0.5 },
      { metric: second, max: 0.6 },
    ]);
    expect(code).toBe("policy_invalid");
    expect(message).toContain("guardrails[1].metric");
    expect(message).toContain("guardrails[0]");
  });

  test("without an automatic guardrail nothing would ever roll back", () => {
    expect(refusal([]).code).toBe("policy_invalid");
    expect(refusal([{ ...seed[0]!, mode: "observe" }]).problems).toHaveLength(1);
  });

  test("a threshold that is no number is refused even if no schema was asked", () => {
    const unparsed = policy(seed);
    const broken = { ...unparsed, guardrails: [{ ...unparsed.guardrails[0]!, max: Number.NaN }] };
    expect(refusal(broken).code).toBe("policy_invalid");
  });

  test("every problem is listed, and one that is invalid decides the code", () => {
    const { code, message, problems } = refusal([
      { metric: "quality", min: 0.8 },
      { metric: "error_rate", max: 3 },
      { metric: "tool_failure_rate", max: 0.03, mode: "approval", action: "freeze" },
    ]);
    // By hand: the metric, the max, the mode and the action.
    expect(problems).toHaveLength(4);
    expect(code).toBe("policy_invalid");
    expect(message).toMatch(/^4 problems/);
  });
});
