import { readFileSync } from "node:fs";
import { ConfigFile, desiredState, type PolicyInput, TOTAL_WEIGHT } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";

const seed = (name: string): unknown =>
  parse(readFileSync(new URL(`../fixtures/config/${name}.yaml`, import.meta.url), "utf8"));
const desired = (file: unknown) => {
  const { state, problems } = desiredState(ConfigFile.parse(file));
  return { state, problems: problems.map(({ message }) => message), paths: problems.map(({ path }) => path) };
};

describe("the seeds apply as they stand", () => {
  test("the rollback block names stable, candidate and the guardrails", () => {
    const { state, problems } = desired(seed("seed-rollback"));

    expect(problems).toEqual([]);
    expect(state.aliases).toHaveLength(1);
    expect(state.aliases[0]).toMatchObject({
      name: "support-agent",
      stable: "support-agent@2.3.3",
      candidates: ["support-agent@2.4.0"],
    });
    expect(state.aliases[0]?.allocation).toBeUndefined();
    expect(state.aliases[0]?.policy).toMatchObject({
      lockCandidate: true,
      alpha: 0.01,
      guardrails: [
        { metric: "error_rate", max: 0.05, mode: "automatic", action: "rollback" },
        { metric: "latency_p95_ms", max: 1800 },
        { metric: "tool_failure_rate", max: 0.03 },
      ],
    });
    expect(state.versions.map(({ id, alias, payload, declared }) => ({ id, alias, payload, declared }))).toEqual([
      { id: "support-agent@2.3.3", alias: "support-agent", payload: {}, declared: false },
      { id: "support-agent@2.4.0", alias: "support-agent", payload: {}, declared: false },
    ]);
  });

  test("the aliases block gives weights in percent and keeps the pin as the payload's model", () => {
    const { state, problems } = desired(seed("seed-aliases"));

    expect(problems).toEqual([]);
    expect(state.aliases).toEqual([
      expect.objectContaining({
        name: "smart-reasoner",
        stable: "anthropic:claude-sonnet-4-5:ap-south-1",
        candidates: ["anthropic:claude-sonnet-4-6:ap-south-1"],
        allocation: [
          { version: "anthropic:claude-sonnet-4-6:ap-south-1", weight: 0 },
          { version: "anthropic:claude-sonnet-4-5:ap-south-1", weight: 100_000 },
        ],
      }),
    ]);
    expect(state.versions.map(({ id, kind, payload, declared }) => ({ id, kind, payload, declared }))).toEqual([
      {
        id: "anthropic:claude-sonnet-4-6:ap-south-1",
        kind: "model",
        payload: { model: "claude-sonnet-4-6" },
        declared: true,
      },
      {
        id: "anthropic:claude-sonnet-4-5:ap-south-1",
        kind: "model",
        payload: { model: "claude-sonnet-4-5" },
        declared: true,
      },
    ]);
  });
});

describe("weights", () => {
  const aliasOf = (weights: readonly number[], stable?: string) => ({
    aliases: { a: { stable, candidates: weights.map((weight, i) => ({ id: `a@${i + 1}`, weight })) } },
  });

  test("every weight of thousandths of a percent is exact", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: TOTAL_WEIGHT }), (weight) => {
        const { state, problems } = desired(aliasOf([weight / 1000, (TOTAL_WEIGHT - weight) / 1000], "a@2"));
        expect(problems).toEqual([]);
        expect(state.aliases[0]?.allocation?.map((slot) => slot.weight)).toEqual([weight, TOTAL_WEIGHT - weight]);
      }),
      { numRuns: 1000 },
    );
  });

  test("weights that don't sum to 100 are named with their sum", () => {
    expect(desired(aliasOf([25, 70], "a@2")).problems).toEqual([
      "aliases.a.candidates: the weights sum to 95 %, not 100 %",
    ]);
  });

  test("all weights 0 without a stable version is a problem, never uniform traffic", () => {
    expect(desired(aliasOf([0, 0])).problems).toEqual([
      "aliases.a.candidates: the weights sum to 0 %, not 100 %",
      'aliases.a: no version has 100 %; say which one is stable with "stable: VERSION"',
    ]);
  });

  test("a split without a stable version asks for one", () => {
    expect(desired(aliasOf([50, 50])).problems).toEqual([
      'aliases.a: no version has 100 %; say which one is stable with "stable: VERSION"',
    ]);
  });

  test("finer than a thousandth of a percent, negative and above 100 are refused", () => {
    for (const weight of [0.0001, -1, 101])
      expect(ConfigFile.safeParse(aliasOf([weight])).success, `${weight}`).toBe(false);
  });
});

describe("bad files", () => {
  const policy = { guardrails: [{ metric: "error_rate", max: 0.05 }] } satisfies PolicyInput;

  test("an unknown policy key is refused by name and place", () => {
    const parsed = ConfigFile.safeParse({ aliases: { a: { policy: { ...policy, outcomeTimout: "10s" } } } });
    expect(parsed.error?.issues).toEqual([
      expect.objectContaining({
        code: "unrecognized_keys",
        keys: ["outcomeTimout"],
        path: ["aliases", "a", "policy"],
      }),
    ]);
  });

  test.each([
    ["an unknown block", { rollbacks: {} }],
    ["an unknown trigger", { rollback: { stable_version: "a@1", triggers: { eror_rate: 0.1 } } }],
    ["an unknown metric", { aliases: { a: { policy: { guardrails: [{ metric: "eror_rate", max: 0.1 }] } } } }],
    ["a policy without guardrails", { aliases: { a: { policy: {} } } }],
    ["a duration without unit", { aliases: { a: { policy: { ...policy, outcomeTimeout: "60" } } } }],
    ["a name with a space", { aliases: { "my agent": {} } }],
    ["a version id with a space", { versions: [{ id: "a @1" }] }],
  ])("%s is refused", (_what, file) => {
    expect(ConfigFile.safeParse(file).success).toBe(false);
  });

  test.each([
    [
      "a version without a recognisable alias",
      { versions: [{ id: "gpt-x" }] },
      "versions: gpt-x needs an alias, because its id has no name before an @",
    ],
    ["a version twice", { versions: [{ id: "a@1" }, { id: "a@1" }] }, "versions: a@1 is listed twice"],
    [
      "policy and triggers together",
      { aliases: { a: { policy, triggers: { error_rate: 0.1 } } } },
      "aliases.a: give policy or triggers, not both",
    ],
    [
      "a candidate that is the stable version",
      { rollback: { stable_version: "a@1", candidate_version: "a@1", triggers: {} } },
      "rollback: candidate_version is the stable version; a rollout needs two",
    ],
    [
      "a rollback block whose alias can't be told",
      { rollback: { stable_version: "gpt-x", triggers: {} } },
      'rollback: say which alias is meant with "alias: NAME"; gpt-x has no name before an @',
    ],
  ])("%s is a problem that says what to change", (_what, file, problem) => {
    expect(desired(file).problems).toContain(problem);
  });

  test("several problems are reported at once", () => {
    const { problems } = desired({ versions: [{ id: "gpt-x" }, { id: "b@1" }, { id: "b@1" }] });
    expect(problems).toHaveLength(2);
  });
});

describe("what a file leaves out", () => {
  test("an empty file asks for nothing", () => {
    expect(desired({}).state).toEqual({
      versions: [],
      aliases: [],
      killSwitches: new Map(),
      flags: new Map(),
      triggers: new Map(),
      releases: new Map(),
    });
  });

  test("a declared version is not replaced by a mere mention of it", () => {
    const { state } = desired({
      versions: [{ id: "a@1", payload: { prompt: "p" }, notes: "first" }],
      aliases: { a: { candidates: [{ id: "a@1", weight: 100 }] } },
    });
    expect(state.versions).toEqual([
      { id: "a@1", alias: "a", kind: "agent", payload: { prompt: "p" }, labels: {}, notes: "first", declared: true },
    ]);
  });

  test("error_rate_p95 is the error rate, as the seeds write it", () => {
    const { state } = desired({ aliases: { a: { triggers: { error_rate_p95: 0.02 } } } });
    expect(state.aliases[0]?.policy?.guardrails).toMatchObject([{ metric: "error_rate", max: 0.02 }]);
  });
});

test("an outcomeTimeout that would make every run missing, or that no timer can hold, is refused", () => {
  const fileWith = (outcomeTimeout: string) => ({
    aliases: { a: { policy: { guardrails: [{ metric: "error_rate", max: 0.05 }], outcomeTimeout } } },
  });
  for (const timeout of ["0s", "0ms", "25h", "30d", "soon"]) {
    expect(ConfigFile.safeParse(fileWith(timeout)).success, timeout).toBe(false);
  }
  for (const timeout of ["1ms", "5s", "60s", "1d"]) {
    expect(ConfigFile.safeParse(fileWith(timeout)).success, timeout).toBe(true);
  }
});
