import {
  runtimeDocuments,
  transition,
  versionAt,
  visibleChange,
  type World,
  weightOf,
  worldAfter,
} from "@flagback/core";
import { type RuntimeAlias, TOTAL_WEIGHT } from "@flagback/schemas";
import { expect, test } from "vitest";
import { AT, answered, atFull, changeOf, done, ready, refusalOf, register, start, started } from "./support-world.ts";

test("a rollback takes the weight, locks the digest, engages the switch, opens the incident and alerts, in one change", () => {
  const world = started();
  const { change } = changeOf(world, { kind: "rollback", alias: "agent", reason: "looks wrong" });
  const [alias] = change.aliases;
  expect(alias && weightOf(alias.allocation, "agent@2")).toBe(0);
  expect(alias?.locks).toMatchObject([{ version: "agent@2", digest: world.versions.get("agent@2")?.digest }]);
  expect(alias?.rollout).toMatchObject({ state: "rolled_back", decisionId: change.stops[0]?.decision.id });
  expect(change.killSwitches[0]?.engaged).toMatchObject([
    { scope: "agent=agent", owner: `incident:${change.stops[0]?.incident.id}` },
  ]);
  expect(change.stops[0]?.incident).toMatchObject({
    state: "open",
    candidate: "agent@2",
    target: "agent@1",
    stage: "validation",
  });
  expect(change.alerts[0]?.text).toBe("Rollback triggered agent@2 -> 1, reason=manual, stage=validation");
  expect(change.audit).toMatchObject({
    decision: "stop",
    reason: "manual: looks wrong",
    fromVersion: "agent@2",
    toVersion: "agent@1",
    stage: "validation",
    switchStatus: "pending",
    decisionId: change.stops[0]?.decision.id,
    configHash: world.aliases.get("agent")?.rollout?.policyHash,
  });
});

test("a repeated signal answers already_rolled_back with the same decision", () => {
  const world = started();
  const { change } = changeOf(world, { kind: "rollback", alias: "agent", reason: "first" });
  const again = transition(worldAfter(world, change), { kind: "rollback", alias: "agent", reason: "second" }, AT);
  expect(again).toMatchObject({
    kind: "already_rolled_back",
    decisionId: change.stops[0]?.decision.id,
    incident: change.stops[0]?.incident.id,
  });
});

test("a rolled-back digest gets no weight under any version id until it is unlocked", () => {
  const world = done(started(), { kind: "rollback", alias: "agent", reason: "bad" });
  const twin = done(world, register("agent@2-hotfix", { prompt: "two" }));
  expect(refusalOf(start(twin, "agent@2-hotfix")).code).toBe("version_locked");
  const byWeight = transition(
    twin,
    {
      kind: "putAlias",
      name: "agent",
      allocation: [
        { version: "agent@1", weight: 99_000 },
        { version: "agent@2-hotfix", weight: 1_000 },
      ],
    },
    AT,
  );
  expect(refusalOf(byWeight).code).toBe("version_locked");
  const unlocked = done(answered(twin), {
    kind: "unlock",
    alias: "agent",
    version: "agent@2",
    reason: "fixed the tool",
    rootCause: "a bad tool",
  });
  expect(start(unlocked, "agent@2-hotfix").kind).toBe("change");
});

test("a rollback withdraws the candidate's payload under every version id, and moves nobody else", () => {
  let world = done(
    done(ready(), register("agent@2-again", { prompt: "two" })),
    register("agent@3", { prompt: "three" }),
  );
  world = done(world, {
    kind: "putAlias",
    name: "agent",
    allocation: [
      { version: "agent@1", weight: 70_000 },
      { version: "agent@2-again", weight: 20_000 },
      { version: "agent@3", weight: 10_000 },
    ],
  });
  world = done(world, { kind: "startRollout", alias: "agent", candidate: "agent@2", stage: "validation", reason: "" });
  const before = world.aliases.get("agent")?.allocation ?? [];
  world = done(world, { kind: "rollback", alias: "agent", reason: "bad" });
  const after = world.aliases.get("agent")?.allocation ?? [];
  for (let bucket = 0; bucket < TOTAL_WEIGHT; bucket += 100) {
    const was = versionAt(before, bucket);
    expect(versionAt(after, bucket)).toBe(was?.startsWith("agent@2") ? "agent@1" : was);
  }
  const revoked = () => Object.keys(runtimeAlias(world).revoked);
  expect(revoked()).toEqual(["agent@2", "agent@2-again"]);
  // Registered later, it is revoked as well; that is a change that runtimes see.
  const { change } = changeOf(world, register("agent@2-late", { prompt: "two" }));
  expect(visibleChange(world, worldAfter(world, change), change).put).toHaveLength(1);
  world = worldAfter(world, change);
  expect(revoked()).toEqual(["agent@2", "agent@2-again", "agent@2-late"]);
});

test("a rollback that was judged on an earlier rollout does not touch a later one", () => {
  let world = answered(done(started(), { kind: "rollback", alias: "agent", reason: "bad" }));
  world = done(world, {
    kind: "unlock",
    alias: "agent",
    version: "agent@2",
    reason: "fixed the tool",
    rootCause: "a bad tool",
  });
  world = done(world, { kind: "startRollout", alias: "agent", candidate: "agent@2", reason: "" });
  const late = { kind: "rollback", alias: "agent", reason: "bad", rolloutNumber: 1 } as const;
  expect(transition(world, late, AT).kind).toBe("unchanged");
  expect(transition(world, { ...late, rolloutNumber: 2 }, AT).kind).toBe("change");
});

test("a promoted version can be rolled back to the one before it within the rollback window, and not after", () => {
  const promoted = done(atFull(), { kind: "promote", alias: "agent", reason: "all good" });
  expect(promoted.aliases.get("agent")).toMatchObject({
    stable: "agent@2",
    previousStable: { version: "agent@1", until: "2026-01-09T03:04:05.678Z" },
    rollout: { state: "promoted" },
  });
  expect(refusalOf(transition(promoted, { kind: "retireVersion", id: "agent@1", reason: "old" }, AT)).code).toBe(
    "version_in_use",
  );
  const back = done(promoted, { kind: "rollback", alias: "agent", reason: "bad after all" });
  expect(back.aliases.get("agent")).toMatchObject({
    stable: "agent@1",
    allocation: [{ version: "agent@1", weight: TOTAL_WEIGHT }],
    locks: [{ version: "agent@2" }],
    rollout: { state: "rolled_back" },
  });
  expect(back.aliases.get("agent")?.previousStable).toBeUndefined();
  const late = { ...AT, now: "2026-01-09T03:04:05.678Z" };
  expect(refusalOf(transition(promoted, { kind: "rollback", alias: "agent", reason: "late" }, late)).code).toBe(
    "rollout_not_active",
  );
});

function runtimeAlias(world: World): RuntimeAlias {
  const found = runtimeDocuments(world).find((document) => document.kind === "alias");
  if (!found) throw new Error("the alias is gone");
  return found;
}
