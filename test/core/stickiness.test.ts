/**
 * What a conversation that brings its version along gets, as weights come and go.
 */
import {
  type Circumstances,
  type Command,
  keepVersion,
  runtimeDocuments,
  transition,
  type World,
  worldAfter,
} from "@flagback/core";
import { Policy, type PolicyInput, type RuntimeAlias, TOTAL_WEIGHT } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EMPTY_WORLD } from "../support/empty-world.ts";
import { AT } from "./support-world.ts";

const VERSIONS = ["agent@1", "agent@2", "agent@3"] as const;
const ROLLBACK: Command = { kind: "rollback", alias: "agent", reason: "bad" };

describe("through a ramp", () => {
  test("both versions are kept, up and down, and stable also while the candidate has everything", () => {
    const world = exposing(ready());
    expect(kept(world)).toEqual(["agent@1", "agent@2"]);
    const full = done(world, {
      kind: "advanceRollout",
      alias: "agent",
      reason: "r",
      isHealthy: true,
      bypassGate: true,
    });
    expect(aliasOf(full).allocation).toEqual([{ version: "agent@2", weight: TOTAL_WEIGHT }]);
    expect(kept(full)).toEqual(["agent@1", "agent@2"]);
  });

  test("a version that never had weight is not to be had", () => {
    expect(kept(ready())).toEqual(["agent@1"]);
  });

  test("without a lease only stable is kept, unless the policy serves the last known weights", () => {
    const alias = aliasOf(exposing(ready()));
    expect(keepVersion(alias, "agent@1", false)).toMatchObject({ version: "agent@1", role: "stable", reason: "STALE" });
    expect(keepVersion(alias, "agent@2", false)).toBeNull();
    expect(keepVersion({ ...alias, onLeaseLapse: "last" }, "agent@2", false)).toMatchObject({ role: "candidate" });
  });

  test("what is kept says so as its reason, with its role and stage", () => {
    expect(keepVersion(aliasOf(exposing(ready())), "agent@2", true)).toEqual({
      version: "agent@2",
      variant: "agent@2",
      role: "candidate",
      reason: "TARGETING_MATCH",
      stage: "half",
    });
  });
});

describe("a version that was replaced by a promotion", () => {
  test("with evacuate is not kept", () => {
    expect(kept(promoted({ onWithdraw: "evacuate" }))).toEqual(["agent@2"]);
  });

  test("with finish is kept by those who have it, under a live lease, and is nobody else's", () => {
    const world = promoted({ onWithdraw: "finish" });
    expect(kept(world)).toEqual(["agent@1", "agent@2"]);
    const alias = aliasOf(world);
    expect(alias.allocation).toEqual([{ version: "agent@2", weight: TOTAL_WEIGHT }]);
    expect(keepVersion(alias, "agent@1", true)).toMatchObject({ role: "other" });
    expect(keepVersion({ ...alias, onLeaseLapse: "last" }, "agent@1", false)).toBeNull();
  });

  test("is kept until the rollback window ends, by an ordinary change", () => {
    const world = promoted({ onWithdraw: "finish", rollbackWindow: "1h" });
    expect(transition(world, { kind: "expireFinishing" }, AT).kind).toBe("unchanged");
    const later = { ...AT, now: "2026-01-02T04:04:05.678Z" };
    const over = done(world, { kind: "expireFinishing" }, later);
    expect(kept(over)).toEqual(["agent@2"]);
    expect(over.aliases.get("agent")?.finishing).toBeUndefined();
  });

  test("can't be retired while conversations finish on it", () => {
    const world = promoted({ onWithdraw: "finish" });
    const refused = transition(world, { kind: "retireVersion", id: "agent@1", reason: "old" }, AT);
    expect(refused).toMatchObject({ kind: "refused", refusal: { code: "version_in_use" } });
  });
});

test("a version whose weight was taken back by hand is finished on, or not, as the policy says", () => {
  const weigh = (weight: number): Command => ({
    kind: "putAlias",
    name: "agent",
    allocation: [
      { version: "agent@2", weight },
      { version: "agent@1", weight: TOTAL_WEIGHT - weight },
    ],
  });
  const withdrawn = (onWithdraw: "finish" | "evacuate") => done(done(ready({ onWithdraw }), weigh(20_000)), weigh(0));
  expect(kept(withdrawn("finish"))).toEqual(["agent@1", "agent@2"]);
  expect(kept(withdrawn("evacuate"))).toEqual(["agent@1"]);
  expect(kept(done(withdrawn("finish"), { kind: "putAlias", name: "agent", policy: policy({}) }))).toEqual(["agent@1"]);
});

describe("a version that was rolled back", () => {
  test("is not kept, whatever the policy says", () => {
    const world = done(exposing(ready({ onWithdraw: "finish" })), ROLLBACK);
    expect(kept(world)).toEqual(["agent@1"]);
  });

  test("is not kept either where the policy locks nothing", () => {
    const world = done(exposing(ready({ onWithdraw: "finish", lockCandidate: false })), ROLLBACK);
    expect(aliasOf(world).revoked).toEqual({});
    expect(kept(world)).toEqual(["agent@1"]);
  });

  test("is not finished on any more where conversations did before its rollout", () => {
    let world = ready({ onWithdraw: "finish", lockCandidate: false });
    const weigh = (weight: number): Command => ({
      kind: "putAlias",
      name: "agent",
      allocation: [
        { version: "agent@2", weight },
        { version: "agent@1", weight: TOTAL_WEIGHT - weight },
      ],
    });
    world = done(done(world, weigh(20_000)), weigh(0));
    expect(kept(world)).toContain("agent@2");
    expect(kept(done(exposing(world), ROLLBACK))).toEqual(["agent@1"]);
  });
});

test("a policy that lets conversations finish without keeping them is refused", () => {
  const refused = transition(
    ready(),
    { kind: "putAlias", name: "agent", policy: policy({ stickiness: "run", onWithdraw: "finish" }) },
    AT,
  );
  expect(refused).toMatchObject({
    refusal: { code: "policy_invalid", message: expect.stringContaining("onWithdraw") },
  });
});

test("no sequence of commands lets anybody keep a version that is locked or was rolled back and not exposed again", () => {
  const version = fc.constantFrom(...VERSIONS);
  const starts = fc
    .record({ candidate: version, stage: fc.constantFrom("half", "full") })
    .map((over): Command => ({ kind: "startRollout", alias: "agent", reason: "", ...over }));
  const forwards = version.map((id): Command => ({ kind: "rollForward", alias: "agent", version: id, reason: "r" }));
  const locks = version.map((id): Command => ({ kind: "lock", alias: "agent", version: id, reason: "r" }));
  const steps = fc.constantFrom<Command>(
    { kind: "promote", alias: "agent", reason: "r" },
    { kind: "advanceRollout", alias: "agent", reason: "r", isHealthy: true, bypassGate: true },
  );
  const unlocks = version.map(
    (id): Command => ({ kind: "unlock", alias: "agent", version: id, reason: "r", rootCause: "c" }),
  );
  const policies = fc
    .record({ onWithdraw: fc.constantFrom("finish" as const, "evacuate" as const), lockCandidate: fc.boolean() })
    .map((over): Command => ({ kind: "putAlias", name: "agent", policy: policy(over) }));
  const weights = fc.tuple(fc.constantFrom("agent@2", "agent@3"), fc.constantFrom(0, 30_000)).map(
    ([id, weight]): Command => ({
      kind: "putAlias",
      name: "agent",
      allocation: [
        { version: id, weight },
        { version: "agent@1", weight: TOTAL_WEIGHT - weight },
      ],
    }),
  );
  // Weights by hand go nowhere while a rollout is under way, so most of the time none should be.
  const command = fc.oneof(
    { weight: 6, arbitrary: weights },
    { weight: 3, arbitrary: fc.constant<Command>(ROLLBACK) },
    { weight: 2, arbitrary: starts },
    { weight: 2, arbitrary: forwards },
    { weight: 1, arbitrary: locks },
    { weight: 1, arbitrary: steps },
    { weight: 1, arbitrary: unlocks },
    { weight: 1, arbitrary: policies },
  );
  fc.assert(
    fc.property(
      fc.array(command, { maxLength: 40 }),
      fc.boolean(),
      fc.boolean(),
      (commands, leaseLive, lockCandidate) => {
        let world = ready({ onWithdraw: "finish", lockCandidate });
        const rolledBack = new Set<string>();
        for (const each of commands) {
          const before = world.aliases.get("agent")?.rollout;
          const result = transition(world, each, AT);
          if (result.kind !== "change") continue;
          world = worldAfter(world, result.change);
          if (each.kind === "rollback" && before) rolledBack.add(before.candidate);
          const alias = aliasOf(world);
          // Given weight again, by a new rollout or by hand, it is served again.
          for (const slot of alias.allocation) if (slot.weight > 0) rolledBack.delete(slot.version);
          const locked = new Set(world.aliases.get("agent")?.locks.map((lock) => lock.version));
          for (const id of VERSIONS) {
            const decision = keepVersion(alias, id, leaseLive);
            if (decision === null) continue;
            expect(locked).not.toContain(id);
            expect(rolledBack).not.toContain(id);
            if (!leaseLive) expect(id).toBe(alias.stable);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});

function policy(over: Partial<PolicyInput>): Policy {
  return Policy.parse({
    guardrails: [{ metric: "error_rate", max: 0.05 }],
    stages: [
      { name: "half", percent: 50 },
      { name: "full", percent: 100 },
    ],
    stickiness: "conversation",
    ...over,
  });
}

function ready(over: Partial<PolicyInput> = {}): World {
  let world = done(EMPTY_WORLD, {
    kind: "putKillSwitch",
    key: "writes_disabled",
    failSafe: { engage: true, afterMs: 0 },
  });
  for (const id of VERSIONS) {
    const version = { id, alias: "agent", kind: "prompt" as const, payload: { prompt: id }, labels: {}, notes: "" };
    world = done(world, { kind: "registerVersion", version });
  }
  world = done(world, { kind: "putAlias", name: "agent", policy: policy(over) });
  return done(world, { kind: "declareStable", alias: "agent", version: "agent@1", reason: "serves" });
}

function exposing(world: World): World {
  return done(world, { kind: "startRollout", alias: "agent", candidate: "agent@2", reason: "" });
}

function promoted(over: Partial<PolicyInput>): World {
  const full = done(ready(over), {
    kind: "startRollout",
    alias: "agent",
    candidate: "agent@2",
    stage: "full",
    reason: "",
  });
  return done(full, { kind: "promote", alias: "agent", reason: "good" });
}

function aliasOf(world: World): RuntimeAlias {
  const found = runtimeDocuments(world).find((document) => document.kind === "alias");
  if (!found) throw new Error("the alias is gone");
  return found;
}

/** Versions that a run may bring along, under a live lease. */
function kept(world: World): string[] {
  return VERSIONS.filter((id) => keepVersion(aliasOf(world), id, true) !== null);
}

function done(world: World, command: Command, at: Circumstances = AT): World {
  const result = transition(world, command, at);
  if (result.kind !== "change") throw new Error(`${command.kind} was ${JSON.stringify(result)}`);
  return worldAfter(world, result.change);
}
