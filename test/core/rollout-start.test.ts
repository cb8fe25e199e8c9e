import { transition } from "@flagback/core";
import { expect, test } from "vitest";
import { AT, answered, done, POLICY, ready, refusalOf, register, start, started, withSwitch } from "./support-world.ts";

test("a rollout without a way back is refused with the list of what is missing", () => {
  const world = done(withSwitch(), { kind: "putAlias", name: "agent" });
  const refusal = refusalOf(transition(world, { kind: "startRollout", alias: "agent", reason: "" }, AT));
  expect(refusal.code).toBe("rollback_plan_missing");
  expect(refusal.problems).toEqual([
    "no stable version is declared",
    "no candidate is named",
    "the alias has no policy with a guardrail",
  ]);
});

test("a rollout is refused for a retired candidate, for stable itself and for the same payload under another id", () => {
  const world = ready();
  const retired = done(world, { kind: "retireVersion", id: "agent@2", reason: "old" });
  expect(refusalOf(start(retired)).problems).toEqual(["the candidate agent@2 is retired"]);
  expect(refusalOf(start(world, "agent@1")).code).toBe("candidate_equals_stable");
  const twin = done(world, register("agent@1-again", { prompt: "one" }));
  expect(refusalOf(start(twin, "agent@1-again")).code).toBe("candidate_equals_stable");
  expect(refusalOf(start(world, "agent@9")).problems).toEqual(["the candidate agent@9 is not registered for agent"]);
});

test("a policy that nobody can judge is refused by its field", () => {
  const refused = transition(ready(), { kind: "putAlias", name: "agent", policy: { ...POLICY, guardrails: [] } }, AT);
  expect(refusalOf(refused).code).toBe("policy_invalid");
  const stages = [
    { name: "a", percent: 5, soak: "0s" },
    { name: "b", percent: 1, soak: "0s" },
  ];
  const falling = transition(ready(), { kind: "putAlias", name: "agent", policy: { ...POLICY, stages } }, AT);
  expect(refusalOf(falling).message).toContain("percents must grow");
});

test("a start lists everything that is missing at once: the plan, the lock, the incident and the drill", () => {
  const back = done(started(), { kind: "rollback", alias: "agent", reason: "bad" });
  const [incident] = back.incidents.keys();
  const locked = refusalOf(start(back));
  expect(locked).toMatchObject({ code: "version_locked", state: "rolled_back" });
  expect(locked.problems).toEqual([
    expect.stringContaining("agent@2 is locked on agent"),
    `incident ${incident} is open`,
  ]);
  const unknown = refusalOf(start(back, "agent@9"));
  expect(unknown).toMatchObject({ code: "rollback_plan_missing" });
  expect(unknown.problems).toEqual([
    "the candidate agent@9 is not registered for agent",
    `incident ${incident} is open`,
  ]);

  const three = done(back, register("agent@3", { prompt: "three" }));
  const alias = three.aliases.get("agent");
  if (!alias) throw new Error("the alias is gone");
  const drilled = { ...alias, policy: { ...POLICY, requireDrill: "perRelease" as const } };
  const demanding = { ...three, aliases: new Map([["agent", drilled]]) };
  expect(refusalOf(start(demanding, "agent@3")).problems).toEqual([
    `incident ${incident} is open`,
    "no drill of this candidate and this rollback target has passed",
  ]);
});

test("an open incident alone keeps the next rollout from starting, until a person has answered for it", () => {
  const back = done(started(), { kind: "rollback", alias: "agent", reason: "bad" });
  const three = done(back, register("agent@3", { prompt: "three" }));
  const refused = refusalOf(start(three, "agent@3"));
  expect(refused).toMatchObject({
    code: "gate_closed",
    hint: expect.stringContaining("flagback rollout forward agent agent@3"),
  });
  expect(start(answered(three), "agent@3").kind).toBe("change");
});

test.each([
  [
    "stages",
    {
      stages: [
        { name: "a", percent: 5, soak: "0s" },
        { name: "b", percent: 5, soak: "0s" },
      ],
    },
  ],
  [
    "fastTrack.stages",
    {
      fastTrack: {
        stages: [
          { name: "a", percent: 50, soak: "0s" },
          { name: "b", percent: 5, soak: "0s" },
        ],
      },
    },
  ],
])("%s that don't grow are refused by their path", (path, part) => {
  const refused = transition(ready(), { kind: "putAlias", name: "agent", policy: { ...POLICY, ...part } }, AT);
  expect(refusalOf(refused).problems).toEqual([expect.stringContaining(`${path}: percents must grow`)]);
});
