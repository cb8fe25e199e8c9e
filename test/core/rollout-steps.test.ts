import { transition, worldAfter } from "@flagback/core";
import { TOTAL_WEIGHT } from "@flagback/schemas";
import { expect, test } from "vitest";
import { AT, advance, changeOf, done, POLICY, ready, refusalOf, scopes, started } from "./support-world.ts";

test("a paused rollout keeps its weights, goes on when resumed, and can be rolled back meanwhile", () => {
  const paused = done(started(), { kind: "pauseRollout", alias: "agent", reason: "lunch" });
  expect(paused.aliases.get("agent")).toMatchObject({
    rollout: { state: "paused" },
    allocation: started().aliases.get("agent")?.allocation,
  });
  expect(transition(paused, { kind: "pauseRollout", alias: "agent", reason: "again" }, AT).kind).toBe("unchanged");
  const resumed = done(paused, { kind: "resumeRollout", alias: "agent", reason: "back" });
  expect(resumed.aliases.get("agent")?.rollout?.state).toBe("exposing");
  expect(transition(paused, { kind: "rollback", alias: "agent", reason: "bad" }, AT).kind).toBe("change");
});

test("a hold engages the switches until it ends, and a rollback takes them over for its incident", () => {
  const hold = {
    kind: "holdRollout",
    alias: "agent",
    cause: "shared_cause",
    summary: "Both fail.",
    evidence: [],
    engage: true,
  } as const;
  const held = done(started(), hold);
  expect(held.aliases.get("agent")?.rollout?.hold).toMatchObject({ cause: "shared_cause", since: AT.now });
  expect(held.killSwitches.get("writes_disabled")?.engaged).toMatchObject([
    { owner: "rollout:agent/1", scope: "agent=agent" },
  ]);
  expect(transition(held, hold, AT).kind).toBe("unchanged");
  const resumed = done(held, { kind: "resumeRollout", alias: "agent", reason: "over" });
  expect(resumed.aliases.get("agent")?.rollout?.hold).toBeUndefined();
  expect(scopes(resumed)).toEqual([]);
  const { change } = changeOf(held, { kind: "rollback", alias: "agent", reason: "bad" });
  expect(change.killSwitches[0]?.engaged.map((entry) => entry.owner)).toEqual([
    `incident:${change.stops[0]?.incident.id}`,
  ]);
  expect(change.aliases[0]?.rollout?.hold).toBeUndefined();
});

test("the end of a hold that the brain sees leaves a person's pause as it is", () => {
  const silent = {
    kind: "holdRollout",
    alias: "agent",
    cause: "no_data",
    summary: "Silence.",
    evidence: [],
    engage: false,
  } as const;
  const paused = done(done(started(), silent), { kind: "pauseRollout", alias: "agent", reason: "looking" });
  const ended = done(paused, { kind: "endHold", alias: "agent", cause: "no_data", reason: "data again" });
  expect(ended.aliases.get("agent")?.rollout).toMatchObject({ state: "paused" });
  expect(ended.aliases.get("agent")?.rollout?.hold).toBeUndefined();
  const graver = done(done(started(), silent), { ...silent, cause: "shared_cause", engage: true });
  const other = transition(graver, { kind: "endHold", alias: "agent", cause: "no_data", reason: "data again" }, AT);
  expect(other.kind).toBe("unchanged");
});

test("a rollout advances when it has soaked and is proven healthy, and the gate says what is missing", () => {
  const stages = [
    { name: "canary", percent: 1, soak: "10m" },
    { name: "full", percent: 100, soak: "0s" },
  ];
  const world = done(done(ready(), { kind: "putAlias", name: "agent", policy: { ...POLICY, stages } }), {
    kind: "startRollout",
    alias: "agent",
    candidate: "agent@2",
    reason: "",
  });
  const early = refusalOf(transition(world, advance(false), AT));
  expect(early).toMatchObject({
    code: "gate_closed",
    problems: ["its guardrails are not proven healthy yet", "stage canary soaks for 10m, and 0 s have passed"],
  });
  const later = { ...AT, now: "2026-01-02T03:14:05.678Z" };
  const result = transition(world, advance(true), later);
  if (result.kind !== "change") throw new Error(result.kind);
  const full = worldAfter(world, result.change);
  expect(full.aliases.get("agent")).toMatchObject({
    allocation: [{ version: "agent@2", weight: TOTAL_WEIGHT }],
    rollout: { stage: "full", stageStartedAt: later.now },
  });
  expect(refusalOf(transition(full, advance(true), later))).toMatchObject({
    code: "stage_not_found",
    hint: expect.stringContaining("promote"),
  });
  const held = {
    kind: "holdRollout",
    alias: "agent",
    cause: "no_data",
    summary: "Silence.",
    evidence: [],
    engage: false,
  } as const;
  const closed = refusalOf(transition(done(world, held), advance(true), later));
  expect(closed.problems).toEqual(["The rollout of agent@2 on agent is held (no_data): Silence"]);
});

test("a bypassed gate is recorded with what it said", () => {
  const { change } = changeOf(started(), { ...advance(false), bypassGate: true });
  expect(change.summary).toContain("Bypassed the gate, which said: its guardrails are not proven healthy yet.");
  expect(change.aliases[0]?.rollout?.stage).toBe("full");
});

test("only a version that serves everything is promoted", () => {
  expect(refusalOf(transition(started(), { kind: "promote", alias: "agent", reason: "x" }, AT)).message).toContain(
    "5 %",
  );
});

test("of two who advance what they both saw, the second changes nothing, also where no stage soaks", () => {
  const seen = { ...advance(true), fromStage: "canary" };
  const canary = done(ready(), { kind: "startRollout", alias: "agent", candidate: "agent@2", reason: "" });
  const validation = done(canary, seen);
  expect(validation.aliases.get("agent")?.rollout?.stage).toBe("validation");
  expect(transition(validation, seen, AT)).toMatchObject({
    kind: "unchanged",
    summary: expect.stringContaining("already"),
  });
  expect(refusalOf(transition(validation, { ...seen, fromStage: "cannary" }, AT))).toMatchObject({
    code: "stage_not_found",
    hint: expect.stringContaining("canary, validation, full"),
  });
});
