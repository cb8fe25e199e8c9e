import { type CompiledGuardrail, compileGuardrails } from "@flagback/core";
import type { Policy, PolicyInput } from "@flagback/schemas";
import { describe, expect, test } from "vitest";
import { policy } from "./support-brain.ts";

type Guardrails = PolicyInput["guardrails"];

function compiled(guardrails: Guardrails, stage?: string) {
  const result = compileGuardrails(policy(guardrails), stage);
  if (!result.ok) throw new Error(result.refusal.message);
  return result.guardrails;
}

/** The schema refuses some of these numbers before; what is compiled is trusted by the detectors, so it checks as well. */
function refusal(guardrails: Guardrails | Policy) {
  const parsed = Array.isArray(guardrails)
    ? {
        ...policy([]),
        guardrails: guardrails.map((each) => ({ mode: "automatic", action: "rollback", ...each }) as const),
      }
    : guardrails;
  const result = compileGuardrails(parsed);
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
    const guardrails: Guardrails = [{ ...seed[0]!, stages: { canary: { max: 0.01 } } }];
    expect(compiled(guardrails, "canary")[0]!.p0).toBe(0.01);
    expect(compiled(guardrails, "full")[0]!.p0).toBe(0.05);
  });
});

describe("every metric", () => {
  const only = (guardrail: Guardrails[number]) => compiled([guardrail])[0]!;

  test.each<[string, Guardrails[number], Partial<CompiledGuardrail>]>([
    // BRAIN 2.1: badness 1 - quality, so a mean of 0.2 is allowed.
    ["quality", { metric: "quality", min: 0.8 }, { kind: "quality", p0: 0.2, limit: 0.8 }],
    ["a mean cost", { metric: "cost_usd_mean", max: 0.12, cap: 1 }, { kind: "cost", p0: 0.12, limit: 0.12, cap: 1 }],
    ["a safety rate", { metric: "safety.pii_leak", max: 0.002 }, { kind: "safety", p0: 0.002, field: "pii_leak" }],
    ["a critical event", { metric: "safety.pii_leak", max: 0 }, { kind: "critical", p0: 0, share: 0 }],
    ["a budget", { metric: "spend_usd_per_hour", max: 200 }, { kind: "budget", p0: 0, limit: 200, share: 0 }],
    [
      "a custom quantile",
      { metric: "custom.steps", p95: 40 },
      { name: "custom.steps p95", kind: "custom_quantile", p0: 0.05, limit: 40, field: "steps" },
    ],
    [
      "a custom mean",
      { metric: "custom.steps", max: 10, cap: 40 },
      { name: "custom.steps", kind: "custom_mean", p0: 0.25, limit: 10, cap: 40, field: "steps" },
    ],
    [
      "a comparison",
      { metric: "error_rate", relativeTo: "stable", maxOddsRatio: 2, max: 0.1 },
      // BRAIN 2.3: the floor is a fifth of the absolute threshold.
      { name: "error_rate vs stable", p0: 0.1, relative: { maxOddsRatio: 2, floor: 0.02 } },
    ],
    [
      "a comparison by latency",
      { metric: "latency_p95_ms", relativeTo: "stable", max: 1_800 },
      { p0: 0.05, limitMs: 1_800, relative: { maxOddsRatio: 1.5, floor: 0.01 } },
    ],
    [
      "a comparison by quality",
      { metric: "quality", relativeTo: "stable", min: 0.75 },
      { p0: 0.25, limit: 0.75, relative: { maxOddsRatio: 1.5, floor: 0.05 } },
    ],
    [
      "approval and another action",
      { metric: "error_rate", max: 0.05, mode: "approval", action: "freeze" },
      { mode: "approval", action: "freeze", share: 1 },
    ],
  ])("%s is compiled", (_, guardrail, expected) => {
    expect(only(guardrail)).toMatchObject(expected);
  });

  test("a comparison takes its threshold from the guardrail of the same metric, or allows 5 %", () => {
    const relative = { metric: "error_rate", relativeTo: "stable" } as const;
    expect(compiled([{ metric: "error_rate", max: 0.1 }, relative])[1]!.p0).toBe(0.1);
    expect(compiled([{ metric: "latency_p50_ms", max: 9 }, relative])[1]!.p0).toBe(0.05);
    const latency = { metric: "latency_p95_ms", relativeTo: "stable" } as const;
    expect(compiled([seed[1]!, latency])[1]!.limitMs).toBe(1_800);
  });

  test("the shares of all kinds are those of the book, with equal parts inside a kind", () => {
    const all = compiled([
      ...seed,
      { metric: "error_rate", relativeTo: "stable" },
      { metric: "latency_p95_ms", relativeTo: "stable" },
      { metric: "tool_failure_rate", relativeTo: "stable" },
      { metric: "quality", min: 0.8 },
      { metric: "cost_usd_mean", max: 0.12, cap: 1 },
      { metric: "safety.a", max: 0.01 },
      { metric: "safety.b", max: 0.01 },
      { metric: "safety.c", max: 0 },
      { metric: "spend_usd_per_hour", max: 1 },
    ]);
    // BRAIN 2.5, over their sum of 1.05.
    const parts = [0.25, 0.15, 0.15, 0.2, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0, 0];
    all.forEach(({ share }, g) => {
      expect(share).toBeCloseTo(parts[g]! / 1.05, 14);
    });
  });
});

describe("refusing", () => {
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
    ["a rate that is no number", { metric: "error_rate", max: Number.NaN }, "guardrails[0].max"],
    ["a negative rate", { metric: "error_rate", max: -0.1 }, "guardrails[0].max"],
    ["a latency without end", { metric: "latency_p95_ms", max: Number.POSITIVE_INFINITY }, "guardrails[0].max"],
    ["a quality without a min", { metric: "quality" }, "guardrails[0].min"],
    ["a quality that every run must reach", { metric: "quality", min: 1 }, "guardrails[0].min"],
    ["a quality of nothing", { metric: "quality", min: 0 }, "guardrails[0].min"],
    ["a quality with a max", { metric: "quality", min: 0.8, max: 0.9 }, "guardrails[0].max"],
    ["a mean cost without a cap", { metric: "cost_usd_mean", max: 0.1 }, "guardrails[0].cap"],
    ["a mean cost at its cap", { metric: "cost_usd_mean", max: 1, cap: 1 }, "guardrails[0].max"],
    ["a cap of 0", { metric: "cost_usd_mean", max: 1, cap: 0 }, "guardrails[0].cap"],
    ["a safety rate above 1", { metric: "safety.pii_leak", max: 2 }, "guardrails[0].max"],
    ["a custom number without a limit", { metric: "custom.steps" }, "guardrails[0].cap"],
    ["a custom number with two limits", { metric: "custom.steps", p95: 40, p99: 50 }, "guardrails[0].p99"],
    ["a budget of nothing", { metric: "spend_usd_per_hour", max: 0 }, "guardrails[0].max"],
    [
      "an odds ratio below 1",
      { metric: "error_rate", relativeTo: "stable", maxOddsRatio: 0.5 },
      "guardrails[0].maxOddsRatio",
    ],
    ["a comparison without a limit", { metric: "latency_p95_ms", relativeTo: "stable" }, "guardrails[0].max"],
    ["a comparison of money", { metric: "cost_usd_mean", relativeTo: "stable", max: 1 }, "guardrails[0].relativeTo"],
    ["a share of a critical event", { metric: "safety.pii_leak", max: 0, share: 0.5 }, "guardrails[0].share"],
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
      { metric: "quality", max: 0.8 },
      { metric: "error_rate", max: 3 },
      { ...seed[2]!, stages: { canary: { max: 0.04 } } },
    ]);
    // By hand: the max that quality does not take, the min it lacks, the rate of 3, the stage that is looser.
    expect(problems).toHaveLength(4);
    expect(code).toBe("policy_invalid");
    expect(message).toMatch(/^4 problems/);
  });
});
