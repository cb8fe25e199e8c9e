import { createHash } from "node:crypto";
import {
  type Change,
  type Circumstances,
  type Command,
  canRollBack,
  runtimeDocuments,
  type Transition,
  transition,
  versionAt,
  visibleChange,
  type World,
  weightOf,
  worldAfter,
} from "@flagback/core";
import { ConfigFile, desiredState, Policy, type RuntimeAlias, TOTAL_WEIGHT } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { JsonSchemaChecker } from "../../server/src/engine/json-schema-checker.ts";

const AT: Circumstances = {
  actor: { kind: "token", name: "ada", id: "t1" },
  now: "2026-01-02T03:04:05.678Z",
  digestOf: (value) => createHash("sha256").update(JSON.stringify(value)).digest("hex"),
  payloads: new JsonSchemaChecker(),
};
const POLICY = Policy.parse({
  guardrails: [{ metric: "error_rate", max: 0.05 }],
  stages: [
    { name: "canary", percent: 1 },
    { name: "validation", percent: 5 },
    { name: "full", percent: 100 },
  ],
});

test("on an empty database the seed's rollback block applies and its rollout starts", () => {
  const world = done(withSwitch(), {
    kind: "apply",
    desired: desiredState(
      ConfigFile.parse({
        rollback: {
          stable_version: "support-agent@2.3.3",
          candidate_version: "support-agent@2.4.0",
          triggers: { error_rate_p95: 0.05, latency_p95_ms: 1800, tool_failure_rate: 0.03 },
          lock_candidate_after_rollback: true,
        },
      }),
    ).state,
  });
  const started = done(world, { kind: "startRollout", alias: "support-agent", reason: "" });
  const alias = started.aliases.get("support-agent");
  expect(alias?.allocation).toEqual([
    { version: "support-agent@2.4.0", weight: 1_000 },
    { version: "support-agent@2.3.3", weight: 99_000 },
  ]);
  expect(alias?.rollout).toMatchObject({ state: "exposing", stage: "canary", target: "support-agent@2.3.3" });
});

test("applying the same file twice changes nothing the second time", () => {
  const desired = desiredState(
    ConfigFile.parse({
      aliases: {
        "smart-reasoner": {
          candidates: [
            { id: "model:b", version_pin: "b", weight: 0 },
            { id: "model:a", version_pin: "a", weight: 100 },
          ],
        },
      },
    }),
  ).state;
  const world = done(withSwitch(), { kind: "apply", desired });
  expect(world.aliases.get("smart-reasoner")).toMatchObject({ stable: "model:a", candidates: ["model:b"] });
  expect(world.versions.get("model:a")?.payload).toEqual({ model: "a" });
  expect(transition(world, { kind: "apply", desired }, AT).kind).toBe("unchanged");
});

test("a file is applied whole or not at all, and every problem is named", () => {
  const desired = desiredState(
    ConfigFile.parse({
      aliases: {
        one: { stable: "one@1", policy: { guardrails: [{ metric: "error_rate", max: 7 }] } },
        two: { stable: "two@1", policy: { guardrails: [], onBreach: { engage: ["nothing"] } } },
      },
    }),
  ).state;
  const result = transition(withSwitch(), { kind: "apply", desired }, AT);
  expect(result.kind === "refused" && result.refusal.problems?.length).toBeGreaterThanOrEqual(2);
});

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

test("a rollback takes the weight, locks the digest, engages the switch, opens the incident and alerts, in one change", () => {
  const world = started();
  const { change } = changeOf(world, { kind: "rollback", alias: "agent", reason: "looks wrong" });
  const [alias] = change.aliases;
  expect(alias && weightOf(alias.allocation, "agent@2")).toBe(0);
  expect(alias?.locks).toMatchObject([{ version: "agent@2", digest: world.versions.get("agent@2")?.digest }]);
  expect(alias?.rollout).toMatchObject({ state: "rolled_back", decisionId: change.decision?.id });
  expect(change.killSwitches[0]?.engaged).toMatchObject([
    { scope: "agent=agent", owner: `incident:${change.incident?.id}` },
  ]);
  expect(change.incident).toMatchObject({
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
    decisionId: change.decision?.id,
    configHash: world.aliases.get("agent")?.rollout?.policyHash,
  });
});

test("a repeated signal answers already_rolled_back with the same decision", () => {
  const world = started();
  const { change } = changeOf(world, { kind: "rollback", alias: "agent", reason: "first" });
  const again = transition(worldAfter(world, change), { kind: "rollback", alias: "agent", reason: "second" }, AT);
  expect(again).toMatchObject({
    kind: "already_rolled_back",
    decisionId: change.decision?.id,
    incident: change.incident?.id,
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
  const unlocked = done(twin, {
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
  let world = done(started(), { kind: "rollback", alias: "agent", reason: "bad" });
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
  expect(change.killSwitches[0]?.engaged.map((entry) => entry.owner)).toEqual([`incident:${change.incident?.id}`]);
  expect(change.aliases[0]?.rollout?.hold).toBeUndefined();
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

test("versions registered without a payload do not share a digest", () => {
  const world = done(done(withSwitch(), register("agent@1", {})), register("agent@2", {}));
  expect(world.versions.get("agent@1")?.digest).not.toBe(world.versions.get("agent@2")?.digest);
});

test("a version is immutable: the same payload again is a no-op, another one is refused", () => {
  const world = ready();
  expect(transition(world, register("agent@2", { prompt: "two" }), AT).kind).toBe("unchanged");
  expect(refusalOf(transition(world, register("agent@2", { prompt: "other" }), AT)).code).toBe(
    "version_digest_mismatch",
  );
});

test("the stable version can't be retired", () => {
  const refused = transition(ready(), { kind: "retireVersion", id: "agent@1", reason: "tidy" }, AT);
  expect(refusalOf(refused).code).toBe("version_in_use");
});

test("a second stable version is refused: it comes by a rollout", () => {
  const refused = transition(ready(), { kind: "declareStable", alias: "agent", version: "agent@2", reason: "now" }, AT);
  expect(refusalOf(refused).code).toBe("already_exists");
});

test("weights that don't sum to 100 % are refused with their sum", () => {
  const refused = transition(
    ready(),
    { kind: "putAlias", name: "agent", allocation: [{ version: "agent@1", weight: 90_000 }] },
    AT,
  );
  expect(refusalOf(refused)).toMatchObject({ code: "weights_do_not_sum", message: expect.stringContaining("90 %") });
});

test("recovery and people hold a switch side by side; releasing a scope leaves the others", () => {
  const world = done(started(), { kind: "rollback", alias: "agent", reason: "bad" });
  const both = done(world, engage("tenant=acme"));
  expect(scopes(both)).toEqual(["agent=agent", "tenant=acme"]);
  const released = done(both, { kind: "release", key: "writes_disabled", scope: "tenant=acme", reason: "over" });
  expect(scopes(released)).toEqual(["agent=agent"]);
  expect(transition(released, { kind: "release", key: "writes_disabled", scope: "*", reason: "?" }, AT).kind).toBe(
    "unchanged",
  );
});

test("an entry with an end is released by the server when it comes", () => {
  const world = done(withSwitch(), { ...engage("*"), until: "2026-01-02T04:00:00.000Z" });
  expect(transition(world, { kind: "expireEntries" }, AT).kind).toBe("unchanged");
  const later = { ...AT, now: "2026-01-02T04:00:00.000Z" };
  const result = transition(world, { kind: "expireEntries" }, later);
  expect(result.kind === "change" && result.change.killSwitches[0]?.engaged).toEqual([]);
});

test("an end in the past is refused", () => {
  const refused = transition(withSwitch(), { ...engage("*"), until: "2026-01-01T00:00:00.000Z" }, AT);
  expect(refusalOf(refused).message).toContain("not in the future");
});

test("stop engages every kill switch everywhere, once", () => {
  const two = done(withSwitch(), {
    kind: "putKillSwitch",
    key: "refunds_disabled",
    failSafe: { engage: true, afterMs: 0 },
  });
  const stopped = done(two, { kind: "stopEverything", reason: "fire", entryId: "e1" });
  expect([...stopped.killSwitches.values()].map((each) => each.engaged.map((entry) => entry.scope))).toEqual([
    ["*"],
    ["*"],
  ]);
  expect(transition(stopped, { kind: "stopEverything", reason: "fire", entryId: "e2" }, AT).kind).toBe("unchanged");
});

test("stop holds where the same person had engaged the switch everywhere for a while", () => {
  const short = done(withSwitch(), { ...engage("*"), until: "2026-01-02T04:00:00.000Z" });
  const stopped = done(short, { kind: "stopEverything", reason: "fire", entryId: "e1" });
  const later = transition(stopped, { kind: "expireEntries" }, { ...AT, now: "2026-01-02T04:00:00.000Z" });
  expect(later.kind === "change" && later.change.killSwitches[0]?.engaged).toMatchObject([{ id: "e1", scope: "*" }]);
});

test("an alias, a flag and a kill switch never share a key", () => {
  const flag = transition(
    ready(),
    { kind: "putFlag", key: "agent", definition: { state: "ENABLED", variants: { on: true } } },
    AT,
  );
  expect(refusalOf(flag).code).toBe("already_exists");
  expect(refusalOf(transition(withSwitch(), { kind: "putAlias", name: "writes_disabled" }, AT)).code).toBe(
    "already_exists",
  );
});

test("a change that runtimes don't see takes no revision", () => {
  const world = ready();
  const { change } = changeOf(world, register("agent@3", { prompt: "three" }));
  expect(visibleChange(world, worldAfter(world, change), change)).toEqual({ put: [], deleted: [] });
});

test("no sequence of commands gives weight to a locked version, leaves a sum other than 100 %, or a rollout without a target", () => {
  const version = fc.constantFrom("agent@1", "agent@2", "agent@3", "agent@4");
  const command: fc.Arbitrary<Command> = fc.oneof(
    version.map((id): Command => ({ kind: "startRollout", alias: "agent", candidate: id, reason: "" })),
    version.map(
      (id): Command => ({ kind: "startRollout", alias: "agent", candidate: id, stage: "validation", reason: "" }),
    ),
    fc.constant<Command>({ kind: "rollback", alias: "agent", reason: "r" }),
    fc.constantFrom<Command>(
      { kind: "pauseRollout", alias: "agent", reason: "r" },
      { kind: "resumeRollout", alias: "agent", reason: "r" },
      { kind: "promote", alias: "agent", reason: "r" },
      { kind: "advanceRollout", alias: "agent", reason: "r", isHealthy: true, bypassGate: false },
      { kind: "advanceRollout", alias: "agent", reason: "r", isHealthy: false, bypassGate: true },
      { kind: "holdRollout", alias: "agent", cause: "no_data", summary: "", evidence: [], engage: true },
      { kind: "holdRollout", alias: "agent", cause: "shared_cause", summary: "", evidence: [], engage: true },
      { kind: "endHold", alias: "agent", cause: "no_data", reason: "r" },
    ),
    fc.constantFrom<Command>(
      ...[POLICY, { ...POLICY, onWithdraw: "finish" as const }].map(
        (policy): Command => ({ kind: "putAlias", name: "agent", policy }),
      ),
    ),
    version.map((id): Command => ({ kind: "addCandidates", alias: "agent", versions: [id] })),
    version.map((id): Command => register(`${id}-twin`, { prompt: id === "agent@1" ? "one" : "two" })),
    version.map(
      (id): Command => ({
        kind: "apply",
        desired: {
          versions: [],
          killSwitches: new Map(),
          flags: new Map(),
          triggers: new Map(),
          aliases: [{ name: "agent", stable: id, candidates: [] }],
        },
      }),
    ),
    version.map((id): Command => ({ kind: "startRollout", alias: "agent", candidate: id, stage: "full", reason: "" })),
    version.map((id): Command => ({ kind: "unlock", alias: "agent", version: id, reason: "r", rootCause: "c" })),
    version.map((id): Command => ({ kind: "retireVersion", id, reason: "r" })),
    version.map((id): Command => ({ kind: "declareStable", alias: "agent", version: id, reason: "r" })),
    fc.tuple(version, fc.nat(TOTAL_WEIGHT)).map(
      ([id, weight]): Command => ({
        kind: "putAlias",
        name: "agent",
        allocation: [
          { version: id, weight },
          { version: "agent@1", weight: TOTAL_WEIGHT - weight },
        ],
      }),
    ),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(command, fc.constantFrom(0, 0, 0, 8)), { maxLength: 30 }), (commands) => {
      let world = done(
        done(ready(), register("agent@3", { prompt: "three" })),
        // The payload of agent@2 under another id.
        register("agent@4", { prompt: "two" }),
      );
      let nowMs = Date.parse(AT.now);
      for (const [each, days] of commands) {
        // Now and then a rollback window passes.
        nowMs += days * 86_400_000;
        const now = new Date(nowMs).toISOString();
        const result = transition(world, each, { ...AT, now });
        if (result.kind === "change") world = worldAfter(world, result.change);
        checkInvariants(world, now);
      }
    }),
    { numRuns: 300 },
  );
});

function checkInvariants(world: World, now: string): void {
  const alias = world.aliases.get("agent");
  if (!alias) throw new Error("the alias is gone");
  expect(alias.allocation.reduce((sum, slot) => sum + slot.weight, 0)).toBe(TOTAL_WEIGHT);
  const locked = new Set(alias.locks.map((lock) => lock.digest));
  for (const slot of alias.allocation) expect(locked.has(world.versions.get(slot.version)?.digest ?? "")).toBe(false);
  const target = alias.rollout && world.versions.get(alias.rollout.target);
  if (canRollBack(alias, now)) {
    // The way back is there, and leads to what is not locked.
    expect(target).toBeDefined();
    expect(target?.retiredAt).toBeUndefined();
    expect(locked.has(target?.digest ?? "")).toBe(false);
  } else if (alias.stable) expect(world.versions.get(alias.stable)?.retiredAt).toBeUndefined();
  // Runtimes are sent no payload of a version that they must not serve.
  for (const document of runtimeDocuments(world)) {
    if (document.kind !== "alias") continue;
    for (const { digest } of Object.values(document.versions)) expect(locked.has(digest)).toBe(false);
  }
}

function withSwitch(): World {
  const empty: World = {
    aliases: new Map(),
    versions: new Map(),
    killSwitches: new Map(),
    flags: new Map(),
    decisions: new Map(),
    incidents: new Map(),
    triggers: new Map(),
    asked: new Map(),
  };
  return done(empty, { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } });
}

function ready(): World {
  let world = done(withSwitch(), register("agent@1", { prompt: "one" }));
  world = done(world, register("agent@2", { prompt: "two" }));
  world = done(world, { kind: "putAlias", name: "agent", policy: POLICY });
  return done(world, { kind: "declareStable", alias: "agent", version: "agent@1", reason: "serves" });
}

function started(): World {
  return done(ready(), { kind: "startRollout", alias: "agent", candidate: "agent@2", stage: "validation", reason: "" });
}

function advance(isHealthy: boolean) {
  return { kind: "advanceRollout" as const, alias: "agent", reason: "on", isHealthy, bypassGate: false };
}

function atFull(): World {
  const policy = { ...POLICY, stages: [{ name: "full", percent: 100, soak: "0s" }] };
  return done(done(ready(), { kind: "putAlias", name: "agent", policy }), {
    kind: "startRollout",
    alias: "agent",
    candidate: "agent@2",
    reason: "",
  });
}

function start(world: World, candidate = "agent@2"): Transition {
  return transition(world, { kind: "startRollout", alias: "agent", candidate, reason: "" }, AT);
}

function register(id: string, payload: Record<string, string>): Command {
  return { kind: "registerVersion", version: { id, alias: "agent", kind: "prompt", payload, labels: {}, notes: "" } };
}

function runtimeAlias(world: World): RuntimeAlias {
  const found = runtimeDocuments(world).find((document) => document.kind === "alias");
  if (!found) throw new Error("the alias is gone");
  return found;
}

function engage(scope: string) {
  return { kind: "engage" as const, key: "writes_disabled", scope, reason: "r", entryId: `entry ${scope}` };
}

function scopes(world: World): string[] {
  return (world.killSwitches.get("writes_disabled")?.engaged ?? []).map((entry) => entry.scope);
}

function changeOf(world: World, command: Command): { readonly change: Change } {
  const result = transition(world, command, AT);
  if (result.kind !== "change") throw new Error(`${command.kind} was ${JSON.stringify(result)}`);
  return result;
}

function done(world: World, command: Command): World {
  return worldAfter(world, changeOf(world, command).change);
}

function refusalOf(result: Transition) {
  if (result.kind !== "refused") throw new Error(`not refused: ${result.kind}`);
  return result.refusal;
}
