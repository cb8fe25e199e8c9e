import { type Command, drillFinding, type GateFacts, gateOf, transition, type World, worldAfter } from "@flagback/core";
import { Policy, type PolicyInput } from "@flagback/schemas";
import { expect, test } from "vitest";
import { EMPTY_WORLD } from "../support/empty-world.ts";
import { AT } from "./support-world.ts";

const SOAKED = "2026-01-02T03:14:05.678Z";
const PROVEN: GateFacts = { isHealthy: true, drills: [] };
const STAGES = [
  { name: "canary", percent: 5, soak: "10m" },
  { name: "full", percent: 100 },
];

test("the gate answers every condition with yes or no and why", () => {
  const closed = gateAt(exposing(), { isHealthy: false, unproven: ["error_rate: 40 runs, 0 bad"], drills: [] }, AT.now);
  expect(closed).toEqual({
    step: { kind: "advance", stage: { name: "full", percent: 100, soak: "0s" } },
    isOpen: false,
    conditions: [
      {
        condition: "rollback_plan",
        isMet: true,
        why: "a rollback of agent returns to agent@1, engages writes_disabled and revokes with block_writes",
      },
      { condition: "rollback_target", isMet: true, why: "the rollback target agent@1 is registered and not retired" },
      {
        condition: "guardrails",
        isMet: false,
        why: "its guardrails are not proven healthy yet (error_rate: 40 runs, 0 bad)",
      },
      { condition: "soak", isMet: false, why: "stage canary soaks for 10m, and 0 s have passed" },
      { condition: "not_paused", isMet: true, why: "nobody paused it" },
      { condition: "not_held", isMet: true, why: "nothing holds it" },
      { condition: "no_lock", isMet: true, why: "agent@2 is not locked" },
      { condition: "no_incident", isMet: true, why: "every incident of agent is answered for" },
      { condition: "drill", isMet: true, why: "the policy demands no drill" },
    ],
  });
});

test("time and proof open the gate, and a pause, a hold, a lock or a lost target close it again", () => {
  expect(gateAt(exposing(), PROVEN, SOAKED).isOpen).toBe(true);
  const paused = after(exposing(), { kind: "pauseRollout", alias: "agent", reason: "lunch" });
  expect(unmet(paused)).toEqual(["not_paused"]);
  const hold = {
    kind: "holdRollout",
    alias: "agent",
    cause: "no_data",
    summary: "S.",
    evidence: [],
    engage: false,
  } as const;
  expect(unmet(after(exposing(), hold))).toEqual(["not_held"]);
  const { alias, rollout } = rolloutOf(exposing());
  const lock = { digest: rollout.candidateDigest, version: "agent@2", reason: "bad", at: AT.now, by: "ada" };
  expect(unmet(withAlias(exposing(), { ...alias, locks: [lock] }))).toEqual(["no_lock"]);
  // The registry refuses to retire it; a database that lost it all the same is noticed.
  const versions = new Map(exposing().versions);
  versions.delete("agent@1");
  expect(unmet({ ...exposing(), versions })).toEqual(["rollback_target"]);
  expect(unmet({ ...exposing(), killSwitches: new Map() })).toEqual(["rollback_plan"]);
});

test("a policy whose guardrails all only observe is no rollback plan", () => {
  const world = exposing();
  const { alias, rollout } = rolloutOf(world);
  const guardrails = rollout.policy.guardrails.map((guardrail) => ({ ...guardrail, mode: "observe" as const }));
  const observing = { ...alias, rollout: { ...rollout, policy: { ...rollout.policy, guardrails } } };
  expect(unmet(withAlias(world, observing))).toEqual(["rollback_plan"]);
});

test("after the last stage the gate leads to the promotion, and nowhere where that has not all the traffic", () => {
  const advance = { kind: "advanceRollout", alias: "agent", reason: "r", isHealthy: true, bypassGate: true } as const;
  expect(gateAt(after(exposing(), advance), PROVEN, SOAKED)).toMatchObject({ step: { kind: "promote" }, isOpen: true });
  const half = exposing({ stages: [{ name: "half", percent: 50 }] });
  expect(gateAt(half, PROVEN, SOAKED)).toMatchObject({ step: null, isOpen: false });
});

test("an incident that neither a proof nor a person has answered for closes the gate", () => {
  const back = after(exposing(), { kind: "rollback", alias: "agent", reason: "bad" });
  const [incident] = back.incidents.values();
  if (!incident) throw new Error("no incident was opened");
  const version = { id: "agent@3", alias: "agent", kind: "prompt", payload: { id: 3 }, labels: {}, notes: "" } as const;
  const again = after(after(back, { kind: "registerVersion", version }), {
    kind: "rollForward",
    alias: "agent",
    version: "agent@3",
    reason: "r",
  });
  expect(unmet(again)).toEqual(["no_incident"]);
  const closed = after(again, { kind: "releaseIncident", incident: incident.id, reason: "looked at it" });
  expect(unmet(closed)).toEqual([]);
});

const PAIR = { alias: "agent", candidateDigest: "c".repeat(64), targetDigest: "a".repeat(64) };

test("a drill must not be older than the policy says", () => {
  const required = { maxAge: "30d" };
  const passedAt = (at: string) => [{ ...PAIR, candidateDigest: "b".repeat(64), at }];
  expect(drillFinding(required, [], PAIR, AT.now)).toEqual({ isMet: false, why: "no drill has passed on agent" });
  expect(drillFinding(required, passedAt("2025-12-03T03:04:05.678Z"), PAIR, AT.now).isMet).toBe(true);
  expect(drillFinding(required, passedAt("2025-12-03T03:04:05.677Z"), PAIR, AT.now)).toMatchObject({
    isMet: false,
    why: expect.stringContaining("longer ago than 30d"),
  });
  const other = passedAt(AT.now).map((pass) => ({ ...pass, alias: "other" }));
  expect(drillFinding(required, other, PAIR, AT.now).isMet).toBe(false);
});

test("a drill per release passes for exactly this candidate and this rollback target", () => {
  const pass = { ...PAIR, at: AT.now };
  expect(drillFinding("perRelease", [pass], PAIR, AT.now).isMet).toBe(true);
  expect(drillFinding("perRelease", [{ ...pass, candidateDigest: "d".repeat(64) }], PAIR, AT.now).isMet).toBe(false);
  expect(drillFinding("perRelease", [{ ...pass, targetDigest: "d".repeat(64) }], PAIR, AT.now).isMet).toBe(false);
});

test("a bypassed gate is loud: its alert and its audit row say who, why and what the gate had said", () => {
  const world = exposing();
  const result = transition(
    world,
    { kind: "advanceRollout", alias: "agent", reason: "the fix is small", isHealthy: false, bypassGate: true },
    AT,
  );
  if (result.kind !== "change") throw new Error(JSON.stringify(result));
  expect(result.change.alerts).toMatchObject([{ kind: "bypass", alias: "agent" }]);
  for (const word of ["ada", "the fix is small", "0 s have passed", "not proven healthy", "agent@2", "stage full"]) {
    expect(result.change.alerts[0]?.text).toContain(word);
  }
  expect(result.change.audit).toMatchObject({ reason: "the fix is small", decision: "allow", stage: "full" });
  expect(result.change.summary).toContain("Bypassed the gate, which said");
});

test("a bypass that had nothing to bypass is an advance like any other, and alerts nobody", () => {
  const result = transition(
    exposing(),
    { kind: "advanceRollout", alias: "agent", reason: "r", isHealthy: true, bypassGate: true },
    { ...AT, now: SOAKED },
  );
  if (result.kind !== "change") throw new Error(JSON.stringify(result));
  expect(result.change.alerts).toEqual([]);
  expect(result.change.summary).not.toContain("Bypassed");
});

test("a policy that advances by itself needs a soak above zero on each stage but the last", () => {
  const policy = (stages: PolicyInput["stages"]) =>
    Policy.parse({ guardrails: [{ metric: "error_rate", max: 0.05 }], advance: "auto", stages });
  const put = (parsed: Policy) => transition(exposing(), { kind: "putAlias", name: "agent", policy: parsed }, AT);
  expect(put(policy(STAGES)).kind).toBe("change");
  expect(put(policy(undefined)).kind).toBe("change");
  expect(
    put(
      policy([
        { name: "canary", percent: 5, soak: "0s" },
        { name: "full", percent: 100 },
      ]),
    ),
  ).toMatchObject({
    refusal: { code: "policy_invalid", problems: [expect.stringContaining("canary needs a soak above zero")] },
  });
});

test.each([
  ["above 100 %", [{ name: "all", percent: 100.5 }]],
  ["of 0 %", [{ name: "none", percent: 0 }]],
])("a stage %s is no policy", (_, stages) => {
  expect(Policy.safeParse({ guardrails: [{ metric: "error_rate", max: 0.05 }], stages }).success).toBe(false);
});

function exposing(policy: Partial<PolicyInput> = {}): World {
  let world = EMPTY_WORLD;
  world = after(world, { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } });
  for (const id of ["agent@1", "agent@2"]) {
    const version = { id, alias: "agent", kind: "prompt", payload: { id }, labels: {}, notes: "" } as const;
    world = after(world, { kind: "registerVersion", version });
  }
  const whole = Policy.parse({ guardrails: [{ metric: "error_rate", max: 0.05 }], stages: STAGES, ...policy });
  world = after(world, { kind: "putAlias", name: "agent", policy: whole });
  world = after(world, { kind: "declareStable", alias: "agent", version: "agent@1", reason: "r" });
  return after(world, { kind: "startRollout", alias: "agent", candidate: "agent@2", reason: "r" });
}

function rolloutOf(world: World) {
  const alias = world.aliases.get("agent");
  if (!alias?.rollout) throw new Error("the rollout is gone");
  return { alias, rollout: alias.rollout };
}

function gateAt(world: World, facts: GateFacts, now: string) {
  const { alias, rollout } = rolloutOf(world);
  return gateOf(world, alias, rollout, facts, now);
}

function unmet(world: World): string[] {
  return gateAt(world, PROVEN, SOAKED)
    .conditions.filter(({ isMet }) => !isMet)
    .map(({ condition }) => condition);
}

function withAlias(world: World, alias: ReturnType<typeof rolloutOf>["alias"]): World {
  return { ...world, aliases: new Map([["agent", alias]]) };
}

function after(world: World, command: Command): World {
  const result = transition(world, command, AT);
  if (result.kind !== "change") throw new Error(JSON.stringify(result));
  return worldAfter(world, result.change);
}
