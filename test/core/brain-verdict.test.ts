import {
  addCounts,
  type CompiledGuardrail,
  explain,
  freezeThrough,
  healthOf,
  isHealthy,
  judge,
  type Ledger,
  newLedger,
  recordAssigned,
  recordMissing,
  recordOutcome,
} from "@flagback/core";
import { GuardrailEvidence, type Outcome } from "@flagback/schemas";
import { describe, expect, test } from "vitest";
import { errorRate, errorRateVsStable, latency, outcome, rowOf, toolFailure } from "./support-brain.ts";

const critical: CompiledGuardrail = {
  name: "safety.pii_leak",
  kind: "critical",
  p0: 0,
  field: "pii_leak",
  mode: "automatic",
  action: "rollback",
  share: 0,
};
const budget: CompiledGuardrail = {
  name: "spend_usd_per_hour",
  kind: "budget",
  p0: 0,
  limit: 200,
  mode: "automatic",
  action: "rollback",
  share: 0,
};

function recorded(guardrails: CompiledGuardrail[], ticks: readonly (readonly [tick: number, ...Partial<Outcome>[]])[]) {
  const ledger = newLedger(guardrails, 0.01, 1);
  for (const [tick, ...outcomes] of ticks) {
    recordAssigned(ledger, "candidate", "r1", tick, outcomes.length);
    for (const each of outcomes) recordOutcome(ledger, "candidate", "r1", tick, outcome(each));
  }
  return ledger;
}

const times = <T>(n: number, value: T) => Array<T>(n).fill(value);
const failed = { status: "failure" } as const;

describe("what is no statistic", () => {
  test("one critical event stops, before any other rule", () => {
    const verdict = judge(recorded([errorRate, critical], [[0, ...times(9, failed), { safetyFlags: ["pii_leak"] }]]));
    expect(verdict).toMatchObject({
      kind: "stop",
      reason: "rollback_required",
      attribution: "candidate",
      leading: "safety.pii_leak",
    });
    expect(explain(verdict, "support-agent@2.4.0")).toBe(
      "1 of 10 runs of support-agent@2.4.0 raised safety.pii_leak, and none is allowed.",
    );
  });

  test("a flag on stable, another flag, or one on an excluded run is no critical event", () => {
    const ledger = recorded(
      [errorRate, critical],
      [[0, { safetyFlags: ["toxic"] }, { safetyFlags: ["pii_leak"], status: "blocked" }]],
    );
    recordAssigned(ledger, "stable", "r1", 0, 1);
    recordOutcome(ledger, "stable", "r1", 0, outcome({ safetyFlags: ["pii_leak"] }));
    expect(judge(ledger).kind).toBe("allow");
  });

  test("a budget stops in the tick in which the hour's money is spent, and not before", () => {
    const costs = (last: number) =>
      recorded(
        [errorRate, budget],
        [
          [10, { costUsd: 150 }],
          [3_000, { costUsd: 49.999999 }, { costUsd: last, status: "cancelled" }],
        ],
      );
    expect(judge(costs(0)).kind).toBe("allow");
    const verdict = judge(costs(0.000001));
    expect(verdict).toMatchObject({
      kind: "stop",
      reason: "rollback_required",
      leading: "spend_usd_per_hour",
      tick: 3_000,
    });
    expect(verdict.guardrails[1]).toMatchObject({ k: 200, rate: 1, limit: 200, logE: 0 });
    expect(explain(verdict)).toBe("the candidate spent $200 within an hour; the budget is $200.");
  });

  test("an hour is the tick's block of 60 and the 59 blocks before it", () => {
    // By hand: ticks 59 and 3 600 are blocks 0 and 60, so the first is forgotten; ticks 60 and 3 659 are 1 and 60.
    const two = (first: number, second: number) =>
      judge(
        recorded(
          [errorRate, budget],
          [
            [first, { costUsd: 150 }],
            [second, { costUsd: 50 }],
          ],
        ),
      ).kind;
    expect(two(59, 3_600)).toBe("allow");
    expect(two(59, 3_599)).toBe("stop");
    expect(two(60, 3_659)).toBe("stop");
    expect(two(60, 3_660)).toBe("allow");
  });

  test("a budget survives freezing, and what stable spends is not the candidate's", () => {
    const ledger = recorded([errorRate, budget], [[10, { costUsd: 150 }]]);
    recordAssigned(ledger, "stable", "r1", 10, 1);
    recordOutcome(ledger, "stable", "r1", 10, outcome({ costUsd: 1_000 }));
    freezeThrough(ledger, 100);
    expect(judge(ledger).kind).toBe("allow");
    recordAssigned(ledger, "candidate", "r1", 200, 1);
    recordOutcome(ledger, "candidate", "r1", 200, outcome({ costUsd: 50 }));
    expect(judge(ledger)).toMatchObject({ kind: "stop", reason: "rollback_required" });
  });
});

describe("attribution", () => {
  const rows = (candidate: [number, number], stable: [number, number] | null, guardrails = [errorRate]) => {
    const ledger = newLedger(guardrails, 0.01, 1);
    addCounts(ledger, rowOf("candidate", "r1", 0, ...candidate, guardrails.length));
    if (stable) addCounts(ledger, rowOf("stable", "r1", 0, ...stable, guardrails.length));
    return judge(ledger);
  };

  test("a breach without anything to compare with is undetermined", () => {
    expect(rows([5, 5], null)).toMatchObject({ kind: "stop", reason: "sla_breach", attribution: "undetermined" });
  });

  test("a breach that stable does not share is the candidate's", () => {
    expect(rows([5, 5], [500, 2])).toMatchObject({ kind: "stop", reason: "sla_breach", attribution: "candidate" });
  });

  test("a breach beside a stable arm that is proven healthy is the candidate's, also where the odds are the same", () => {
    // No tick has both arms, so nothing is compared; 4 of 400 prove 5 % kept, and 15 of 100 would break it (BRAIN 2.2).
    const ledger = newLedger([errorRate], 0.01, 1);
    addCounts(ledger, rowOf("stable", "r1", 0, 400, 4));
    addCounts(ledger, rowOf("candidate", "r1", 1, 100, 20));
    expect(judge(ledger)).toMatchObject({ kind: "stop", attribution: "candidate" });
  });

  test("a breach that stable shares holds, and says since when", () => {
    const verdict = rows([100, 30], [900, 270]);
    expect(verdict).toMatchObject({ kind: "hold", reason: "shared_cause", attribution: "shared", sinceTick: 0 });
    expect(explain(verdict)).toContain("Stable breaks the same limit");
  });

  test("where a comparison leads, the reason is a spike of errors and the candidate the cause", () => {
    const both = [
      { ...errorRate, share: 0.5 },
      { ...errorRateVsStable, share: 0.5 },
    ];
    const verdict = rows([50, 6], [5_000, 5], both);
    expect(verdict).toMatchObject({
      kind: "stop",
      reason: "error_spike",
      attribution: "candidate",
      leading: "error_rate vs stable",
    });
    expect(explain(verdict)).toContain("against 5 of 5000 on stable");
  });

  test("a shared incident ends in a spike where a comparison alone crosses, though the absolute limit weighs more", () => {
    const both = [
      { ...errorRate, share: 0.5 },
      { ...errorRateVsStable, share: 0.5 },
    ];
    const verdict = rows([200, 180], [800, 200], both);
    expect(verdict).toMatchObject({ kind: "stop", reason: "error_spike", leading: "error_rate vs stable" });
  });
});

describe("modes and actions", () => {
  const approval: CompiledGuardrail = { ...latency, mode: "approval", share: 0.4 };
  const freeze: CompiledGuardrail = { ...toolFailure, action: "freeze", share: 0.3 };
  const rollback: CompiledGuardrail = { ...errorRate, share: 0.3 };
  const all = [rollback, approval, freeze];
  const slow = { durationMs: 9_000 } as const;

  test("a stop carries the leading guardrail's mode and action", () => {
    expect(judge(recorded(all, [[0, ...times(9, slow)]]))).toMatchObject({
      kind: "stop",
      mode: "approval",
      action: "rollback",
      leading: "latency_p95_ms",
    });
    expect(judge(recorded(all, [[0, ...times(9, { toolCalls: 1, toolErrors: 1 })]]))).toMatchObject({
      kind: "stop",
      mode: "automatic",
      action: "freeze",
    });
  });

  test("a stop that waits for a person does not keep a rollback from coming, and the gravest is answered", () => {
    const ledger = recorded(all, [[0, ...times(9, slow)]]);
    freezeThrough(ledger, 5);
    expect(judge(ledger)).toMatchObject({ mode: "approval", tick: 0 });
    recordAssigned(ledger, "candidate", "r1", 6, 9);
    for (let i = 0; i < 9; i++) recordOutcome(ledger, "candidate", "r1", 6, outcome(failed));
    expect(judge(ledger)).toMatchObject({ kind: "stop", mode: "automatic", action: "rollback", tick: 6 });
    freezeThrough(ledger, 9);
    expect(judge(ledger)).toMatchObject({ kind: "stop", mode: "automatic", tick: 6 });
    // What came before stays as it was decided.
    expect(ledger.prefix.stops.map(({ mode, tick }) => [mode, tick])).toEqual([
      ["approval", 0],
      ["automatic", 6],
    ]);
  });

  test("a guardrail that only observes decides nothing, not even by one critical event", () => {
    const observed = [errorRate, { ...critical, mode: "observe" as const }];
    expect(judge(recorded(observed, [[0, { safetyFlags: ["pii_leak"] }]])).kind).toBe("allow");
  });
});

describe("explaining", () => {
  test("a stop says how many of how many, what is allowed and how unlikely that is", () => {
    const ledger = newLedger([{ ...errorRate, p0: 0.65 }], 0.01, 1);
    addCounts(ledger, rowOf("candidate", "r1", 0, 48, 48));
    expect(explain(judge(ledger), "support-agent@2.4.0")).toBe(
      "48 of 48 runs of support-agent@2.4.0 failed (100 %); 65 % are allowed. Under that limit such a run of failures has odds below 1 in 100. Whether stable does the same is not known yet.",
    );
  });

  test("an allowed candidate is described by how far the evidence is", () => {
    const ledger = newLedger([errorRate], 0.01, 1);
    expect(explain(judge(ledger))).toBe("No outcome of the candidate says anything yet.");
    addCounts(ledger, rowOf("candidate", "r1", 0, 2, 2));
    // brain-golden.json, threeFailures: two failures give 3.954474752 of ln 100 one by one; one batch a little less.
    expect(explain(judge(ledger))).toMatch(
      /^2 of 2 runs of the candidate failed \(100 %\); 5 % are allowed\. The evidence stands at 8\d % of what a stop needs\.$/,
    );
  });

  test("the bad segment's start is found to the tick, also when it is frozen", () => {
    const ledger = newLedger([errorRate], 0.01, 1);
    for (let tick = 0; tick < 200; tick++)
      addCounts(ledger, rowOf("candidate", "r1", tick, 20, tick % 5 === 0 ? 1 : 0));
    for (let tick = 200; tick < 203; tick++) addCounts(ledger, rowOf("candidate", "r1", tick, 20, 6));
    const before = judge(ledger);
    expect(before).toMatchObject({ kind: "stop" });
    // By hand: from tick 200 on, 6 of 20 in each.
    const [evidence] = before.guardrails;
    expect(evidence!.startTick).toBe(200);
    expect(evidence!.since).toEqual({ n: 20 * (before.tick! - 199), k: 6 * (before.tick! - 199) });
    freezeThrough(ledger, 201);
    expect(judge(ledger)).toEqual(before);
  });

  test("every kind of guardrail has a sentence of its own, without a number that is none", () => {
    const kinds: [CompiledGuardrail, Partial<Outcome>][] = [
      [{ ...errorRate, name: "quality", kind: "quality", p0: 0.2, limit: 0.8 }, { quality: 0.1 }],
      [{ ...errorRate, name: "cost_usd_mean", kind: "cost", p0: 0.12, limit: 0.12, cap: 1 }, { costUsd: 0.9 }],
      [{ ...errorRate, name: "safety.toxic", kind: "safety", p0: 0.01, field: "toxic" }, { safetyFlags: ["toxic"] }],
      [
        { ...errorRate, name: "custom.steps p95", kind: "custom_quantile", p0: 0.05, limit: 40, field: "steps" },
        { metrics: { steps: 41 } },
      ],
      [
        { ...errorRate, name: "custom.steps", kind: "custom_mean", p0: 0.25, limit: 10, cap: 40, field: "steps" },
        { metrics: { steps: 39 } },
      ],
      [latency, { durationMs: 2_000 }],
      [toolFailure, { toolCalls: 2, toolErrors: 2 }],
    ];
    const sentences = kinds.map(([guardrail, bad]) => {
      const verdict = judge(recorded([guardrail], [[0, ...times(40, bad)]]));
      expect(verdict.kind).toBe("stop");
      expect(GuardrailEvidence.parse(verdict.guardrails[0])).toEqual(verdict.guardrails[0]);
      return explain(verdict);
    });
    expect(new Set(sentences).size).toBe(kinds.length);
    for (const sentence of sentences) expect(sentence).not.toMatch(/NaN|undefined|Infinity/);
    expect(sentences[1]).toMatch(/^cost_usd_mean averages 0.9 over 40 runs/);
  });
});

describe("health", () => {
  const clean = (n: number): Ledger => recorded([errorRate, critical], [[0, ...times(n, {})]]);

  test("71 clean outcomes prove a limit of 5 %, and pending ones don't count", () => {
    expect(isHealthy(clean(71), "candidate")).toBe(true);
    expect(isHealthy(clean(70), "candidate")).toBe(false);
    const ledger = clean(71);
    recordAssigned(ledger, "candidate", "r1", 1, 500);
    expect(healthOf(ledger, "candidate")[0]).toMatchObject({ n: 71, k: 0, isHealthy: true });
    expect(healthOf(ledger, "stable")[0]).toMatchObject({ n: 0, isHealthy: false });
  });

  test("outcomes after a tick with a pending run wait for it, and missing runs are bad", () => {
    const ledger = recorded([errorRate], [[1, ...times(100, {})]]);
    recordAssigned(ledger, "candidate", "r1", 0, 1);
    expect(isHealthy(ledger, "candidate")).toBe(false);
    recordMissing(ledger, "candidate", "r1", 0, 1);
    expect(healthOf(ledger, "candidate")[0]).toMatchObject({ n: 101, k: 1 });
  });

  test("a critical event is not healthy, and freezing changes nothing", () => {
    const ledger = recorded(
      [errorRate, critical],
      [
        [0, ...times(80, {})],
        [1, { safetyFlags: ["pii_leak"] }],
      ],
    );
    expect(isHealthy(ledger, "candidate")).toBe(false);
    const quiet = clean(80);
    const before = healthOf(quiet, "candidate");
    freezeThrough(quiet, 3);
    expect(healthOf(quiet, "candidate")).toEqual(before);
  });
});
