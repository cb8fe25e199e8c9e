import { gateOf, transition, type World, weightOf } from "@flagback/core";
import { Policy, type PolicyInput } from "@flagback/schemas";
import { expect, test } from "vitest";
import { AT, changeOf, done, POLICY, ready, refusalOf, register, started } from "./support-world.ts";

const FORWARD = {
  kind: "rollForward",
  alias: "agent",
  version: "agent@3",
  reason: "the tool's schema is fixed",
} as const;

test("a fix goes up on the fast track while the incident is open, and what it passed by is said loudly", () => {
  const world = rolledBack();
  const [incident] = world.incidents.values();
  const { change } = changeOf(world, FORWARD);
  const [alias] = change.aliases;
  expect(alias?.rollout).toMatchObject({
    rolloutNumber: 2,
    state: "exposing",
    candidate: "agent@3",
    target: "agent@1",
    stage: "canary",
  });
  expect(alias?.rollout?.policy.stages.map(({ percent, soak }) => [percent, soak])).toEqual([
    [5, "2m"],
    [50, "5m"],
    [100, "0s"],
  ]);
  expect(weightOf(alias?.allocation ?? [], "agent@3")).toBe(5_000);
  // What was bad stays locked.
  expect(alias?.locks).toMatchObject([{ version: "agent@2" }]);
  expect(change.alerts).toMatchObject([{ kind: "bypass", alias: "agent", incident: incident?.id }]);
  for (const fact of [
    "agent@3",
    "ada",
    "the tool's schema is fixed",
    `incident ${incident?.id} is open`,
    "canary 1 %, validation 5 %, full 100 %",
  ]) {
    expect(change.alerts[0]?.text).toContain(fact);
  }
  expect(change.audit).toMatchObject({
    decision: "allow",
    reason: FORWARD.reason,
    incident: incident?.id,
    stage: "canary",
  });
  expect(change.incidents[0]?.timeline.at(-1)).toMatchObject({
    by: "ada",
    text: expect.stringContaining("Rolled forward"),
  });
  expect(change.incidents[0]?.state).toBe("open");
});

test("nothing locked goes on the fast track, under any id, nor stable itself, nor what is not registered", () => {
  const world = done(rolledBack(), register("agent@2-again", { prompt: "two" }));
  for (const version of ["agent@2", "agent@2-again"]) {
    expect(refusalOf(transition(world, { ...FORWARD, version }, AT)).code).toBe("version_locked");
  }
  expect(refusalOf(transition(world, { ...FORWARD, version: "agent@1" }, AT)).code).toBe("candidate_equals_stable");
  expect(refusalOf(transition(world, { ...FORWARD, version: "agent@9" }, AT)).code).toBe("rollback_plan_missing");
});

test("a rollout that is under way is rolled back first", () => {
  const world = done(started(), register("agent@3", { prompt: "three" }));
  expect(refusalOf(transition(world, FORWARD, AT))).toMatchObject({ code: "rollout_in_progress", state: "exposing" });
});

test.each([
  [
    "none",
    undefined,
    [
      ["canary", 5],
      ["half", 50],
      ["full", 100],
    ],
  ],
  [
    "one of the track's",
    50,
    [
      ["half", 50],
      ["full", 100],
    ],
  ],
  [
    "one between",
    25,
    [
      ["forward", 25],
      ["half", 50],
      ["full", 100],
    ],
  ],
  [
    "one below all",
    1,
    [
      ["forward", 1],
      ["canary", 5],
      ["half", 50],
      ["full", 100],
    ],
  ],
  ["everything", 100, [["full", 100]]],
] as const)("with %s as its first percentage, it takes the track from there", (_, percent, stages) => {
  const { change } = changeOf(rolledBack(), { ...FORWARD, ...(percent === undefined ? {} : { percent }) });
  expect(change.aliases[0]?.rollout?.policy.stages.map((each) => [each.name, each.percent])).toEqual(stages);
});

test("the policy's own fast track is taken, without the thresholds of the stages that it leaves out", () => {
  const fastTrack = {
    stages: [
      { name: "canary", percent: 10, soak: "1m" },
      { name: "full", percent: 100, soak: "0s" },
    ],
  };
  const world = rolledBack({ fastTrack });
  const { change } = changeOf(world, FORWARD);
  const { rollout } = change.aliases[0] ?? {};
  expect(rollout?.policy.stages).toEqual(fastTrack.stages);
  // It freezes what it goes by, so its hash is another than the policy's.
  expect(rollout?.policyHash).not.toBe(AT.digestOf(world.aliases.get("agent")?.policy));
});

test("each step of the fast track asks the gate again", () => {
  const world = done(rolledBack(), FORWARD);
  const alias = world.aliases.get("agent");
  if (!alias?.rollout) throw new Error("no rollout began");
  const gate = gateOf(world, alias, alias.rollout, { isHealthy: false, drills: [] }, AT.now);
  expect(gate.step).toMatchObject({ kind: "advance", stage: { name: "half" } });
  const unmet = gate.conditions.filter(({ isMet }) => !isMet).map(({ condition }) => condition);
  expect(unmet).toEqual(["guardrails", "soak", "no_incident"]);
});

test("a rollback of the fix returns to the same stable version, and opens an incident of its own", () => {
  const world = done(done(rolledBack(), FORWARD), { kind: "rollback", alias: "agent", reason: "no better" });
  expect([...world.incidents.values()].map(({ candidate, target }) => [candidate, target])).toEqual([
    ["agent@2", "agent@1"],
    ["agent@3", "agent@1"],
  ]);
});

function rolledBack(policy: Partial<PolicyInput> = {}): World {
  const world = ready(Policy.parse({ ...POLICY, ...policy }));
  const bad = done(done(world, { kind: "startRollout", alias: "agent", candidate: "agent@2", reason: "" }), {
    kind: "rollback",
    alias: "agent",
    reason: "bad",
  });
  return done(bad, register("agent@3", { prompt: "three" }));
}
