/**
 * Each check of the doctor: fine where nothing is wrong, and found where exactly this is.
 */
import { createHash } from "node:crypto";
import { type Command, type DoctorFacts, doctor, transition, type World, worldAfter } from "@flagback/core";
import { type Alias, type DoctorCheck, type Json, Policy, type PolicyInput, type Version } from "@flagback/schemas";
import { describe, expect, test } from "vitest";
import { JsonSchemaChecker } from "../../server/src/engine/json-schema-checker.ts";
import { EMPTY_WORLD } from "../support/empty-world.ts";

const NOW = "2026-01-02T03:04:05.678Z";
const AT = {
  actor: { kind: "token", name: "ada", id: "t1" },
  now: NOW,
  digestOf: (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("hex"),
  payloads: new JsonSchemaChecker(),
} as const;
const HEALTHY: DoctorFacts = {
  drills: [{ alias: "agent", candidateDigest: "c", targetDigest: "t", at: "2026-01-01T00:00:00.000Z" }],
  caller: { role: "operator", mayRollBack: true },
  runtimes: [{ leaseLive: true, appliedRevision: 5 }],
  webhooks: [{ id: "wh_1", last: { problem: null, at: NOW } }],
  // 60 runs a minute for an hour.
  traffic: {
    reported: 3_600,
    observedMs: 3_600_000,
    lastOutcomeAgoMs: 200,
    assigned: 3_600,
    settled: 3_590,
    missing: 10,
  },
};

interface Case {
  readonly world?: World;
  readonly facts?: Partial<DoctorFacts>;
  readonly now?: string;
}

test("where nothing is wrong every check says so, also during a rollout", () => {
  for (const world of [ready(), exposing()]) {
    const found = doctor(world, aliasOf(world), HEALTHY, AT);
    expect(found.checks.filter(({ status }) => status !== "ok")).toEqual([]);
    expect(found).toMatchObject({ alias: "agent", target: "agent@1", status: "ok" });
  }
  expect(doctor(exposing(), aliasOf(exposing()), HEALTHY, AT).candidate).toBe("agent@2");
});

const FAILS: readonly (readonly [check: DoctorCheck["check"], what: string, why: RegExp, given: Case])[] = [
  ["rollback_target", "no version is stable", /no stable version/, { world: withAlias({ stable: null }) }],
  ["rollback_target", "the target is gone", /agent@1 is not registered/, { world: withVersion("agent@1", undefined) }],
  ["rollback_target", "the target is retired", /was retired at/, { world: withVersion("agent@1", { retiredAt: NOW }) }],
  [
    "target_payload",
    "its payload is not what was registered",
    /its digest differs/,
    { world: withVersion("agent@1", { payload: { prompt: "overwritten" } }) },
  ],
  [
    "target_payload",
    "its payload breaks the schema",
    /agent@1: the payload must have required property 'model'/,
    { world: withAlias({ payloadSchema: { type: "object", required: ["model"] } }) },
  ],
  [
    "target_payload",
    "the payload of the version that was promoted is broken",
    /payload of agent@2 is not/,
    { world: withVersion("agent@2", { payload: {} }, promoted()) },
  ],
  [
    "retention",
    "the version before a promotion is retired",
    /agent@1 is retired/,
    {
      world: withVersion("agent@1", { retiredAt: NOW }, promoted()),
    },
  ],
  [
    "retention",
    "the version before a promotion is gone",
    /agent@1 is gone/,
    {
      world: withVersion("agent@1", undefined, promoted()),
    },
  ],
  [
    "locks",
    "the target is locked",
    /rollback target has a locked payload: bad/,
    {
      world: withAlias({
        locks: [{ digest: digestOf({ prompt: "one" }), version: "agent@1", reason: "bad", at: NOW, by: "ada" }],
      }),
    },
  ],
  ["guardrails", "there is no policy", /no policy/, { world: withAlias({ policy: null }) }],
  [
    "guardrails",
    "each guardrail asks for approval",
    /no guardrail rolls back by itself/,
    {
      world: ready({ guardrails: [{ metric: "error_rate", max: 0.05, mode: "approval" }] }),
    },
  ],
  [
    "guardrails",
    "a breach only freezes",
    /no guardrail rolls back by itself/,
    {
      world: ready({ guardrails: [{ metric: "error_rate", max: 0.05, action: "freeze" }] }),
    },
  ],
  [
    "guardrails",
    "not even complete failure breaks the threshold",
    /no run of failures would ever be enough/,
    {
      world: ready({ guardrails: [{ metric: "error_rate", max: 0.9999 }] }),
    },
  ],
  [
    "outcomes",
    "nothing is reported during a rollout",
    /no run of agent was reported/,
    {
      world: exposing(),
      facts: {
        traffic: { ...HEALTHY.traffic, reported: 0, assigned: 0, settled: 0, missing: 0, lastOutcomeAgoMs: null },
      },
    },
  ],
  [
    "outcomes",
    "most runs are never reported",
    /60 of 100 runs were never reported/,
    {
      facts: { traffic: { ...HEALTHY.traffic, assigned: 100, settled: 40, missing: 60 } },
    },
  ],
  ["kill_switches", "the switch that a rollback engages is gone", /no such kill switch/, { world: withoutSwitches() }],
  [
    "runtimes",
    "no runtime is connected during a rollout",
    /reaches nobody/,
    {
      world: exposing(),
      facts: { runtimes: [] },
    },
  ],
  [
    "runtimes",
    "no lease is live",
    /0 of 1 runtimes/,
    { facts: { runtimes: [{ leaseLive: false, appliedRevision: 5 }] } },
  ],
  [
    "webhooks",
    "the last alert did not arrive",
    /wh_1: answered 500/,
    {
      facts: { webhooks: [{ id: "wh_1", last: { problem: "answered 500", at: null } }] },
    },
  ],
  [
    "authority",
    "the caller may not roll back",
    /token \(viewer\) may not/,
    {
      facts: { caller: { role: "viewer", mayRollBack: false } },
    },
  ],
  [
    "drill",
    "the drill that the policy demands never passed",
    /no drill/,
    {
      world: withAlias({ policy: { ...Policy.parse(policyOf({})), requireDrill: "perRelease" } }),
    },
  ],
  [
    "drill",
    "the drill that the policy demands is too old",
    /longer ago than 1h/,
    {
      world: withAlias({ policy: { ...Policy.parse(policyOf({})), requireDrill: { maxAge: "1h" } } }),
    },
  ],
];

describe("fails where", () => {
  test.each(FAILS)("%s: %s", (check, _what, why, given) => {
    const found = examined(check, given);
    expect(found).toMatchObject({ status: "fail", why: expect.stringMatching(why) });
    expect(found?.whatToDo).toMatch(/\w{4}/);
  });

  test("each check but those that only inform can fail", () => {
    const informing = ["mechanism", "traffic"];
    const all = doctor(ready(), aliasOf(ready()), HEALTHY, AT).checks.map(({ check }) => check);
    expect(new Set([...FAILS.map(([check]) => check), ...informing])).toEqual(new Set(all));
  });
});

const WARNS: readonly (readonly [check: DoctorCheck["check"], what: string, why: RegExp, given: Case])[] = [
  [
    "mechanism",
    "data is more than a flip",
    /data: .*may be hours/,
    { world: withVersion("agent@1", { kind: "data" }) },
  ],
  ["mechanism", "code is more than a flip", /10 to 30 minutes/, { world: withVersion("agent@1", { kind: "agent" }) }],
  ["locks", "the policy locks nothing", /locks nothing/, { world: ready({ lockCandidate: false }) }],
  [
    "kill_switches",
    "a rollback engages nothing",
    /engages no kill switch/,
    {
      world: ready({ onBreach: { engage: [] } }),
    },
  ],
  [
    "outcomes",
    "nothing was reported before a rollout",
    /no run of agent was reported/,
    {
      facts: {
        traffic: { ...HEALTHY.traffic, reported: 0, assigned: 0, settled: 0, missing: 0, lastOutcomeAgoMs: null },
      },
    },
  ],
  ["runtimes", "nobody is connected before a rollout", /reaches nobody/, { facts: { runtimes: [] } }],
  [
    "runtimes",
    "one has not confirmed the last change",
    /1 of these have not confirmed/,
    {
      world: withAlias({ revision: 6 }),
    },
  ],
  ["webhooks", "there is none", /nobody is told/, { facts: { webhooks: [] } }],
  [
    "webhooks",
    "none was ever tried",
    /no alert to wh_1 is on record/,
    { facts: { webhooks: [{ id: "wh_1", last: null }] } },
  ],
  ["drill", "it was never rehearsed", /never rehearsed/, { facts: { drills: [] } }],
  ["drill", "the last one is long ago", /passed 365 d ago/, { now: "2027-01-01T00:00:00.000Z" }],
];

test.each(WARNS)("warns where %s: %s", (check, _what, why, given) => {
  expect(examined(check, given)).toMatchObject({ status: "warn", why: expect.stringMatching(why) });
});

describe("the traffic that a policy needs", () => {
  // data/brain-golden.json, threeFailures: at 5 % and alpha 0.01 the evidence of three failures in a row is 6.68, of two 3.95.
  // One guardrail and three stages need ln(1.1 / 0.01) = 4.70, so three runs.
  test("is told in runs and in time at the stage's share", () => {
    // 60 runs a minute, 1 % of them: one in 100 s.
    expect(examined("traffic", {})).toMatchObject({
      status: "ok",
      why: expect.stringContaining("at 1 % (stage canary), a complete failure takes 3 runs, about 5 min"),
    });
    // At half the traffic that is beyond a prompt's 5 minutes.
    const half = { traffic: { ...HEALTHY.traffic, reported: 1_800 } };
    expect(examined("traffic", { facts: half })).toMatchObject({
      status: "warn",
      why: expect.stringMatching(/about 10 min.*the target is 5 min/),
    });
    // A model's target is 10 minutes.
    const model = withVersion("agent@1", { kind: "model" });
    expect(examined("traffic", { facts: half, world: model })).toMatchObject({ status: "ok" });
  });

  test("can't be told before anything was reported", () => {
    const none = { traffic: { ...HEALTHY.traffic, reported: 0 } };
    expect(examined("traffic", { facts: none })).toMatchObject({ status: "warn", why: expect.stringContaining("1 h") });
  });
});

test("the payload of a promoted version's predecessor is no concern once its rollback window is over", () => {
  const given = { world: withVersion("agent@1", { retiredAt: NOW }, promoted()), now: "2026-03-01T00:00:00.000Z" };
  expect(examined("retention", given)?.status).toBe("ok");
  expect(examined("rollback_target", given)).toMatchObject({ status: "ok", why: expect.stringContaining("agent@2") });
});

function examined(check: DoctorCheck["check"], { world = ready(), facts = {}, now = NOW }: Case) {
  const { checks } = doctor(world, aliasOf(world), { ...HEALTHY, ...facts }, { ...AT, now });
  return checks.find((each) => each.check === check);
}

function policyOf(policy: Partial<PolicyInput>): PolicyInput {
  return {
    guardrails: [{ metric: "error_rate", max: 0.05 }],
    stages: [
      { name: "canary", percent: 1 },
      { name: "half", percent: 50 },
      { name: "full", percent: 100 },
    ],
    ...policy,
  };
}

/** An alias with a stable version, a second one, and a policy. */
function ready(policy: Partial<PolicyInput> = {}): World {
  const commands: Command[] = [
    { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } },
    register("agent@1", { prompt: "one" }),
    register("agent@2", { prompt: "two" }),
    { kind: "putAlias", name: "agent", policy: Policy.parse(policyOf(policy)) },
    { kind: "declareStable", alias: "agent", version: "agent@1", reason: "serves" },
  ];
  return commands.reduce(done, EMPTY_WORLD);
}

function exposing(): World {
  return done(ready(), { kind: "startRollout", alias: "agent", candidate: "agent@2", reason: "" });
}

function promoted(): World {
  const full = done(ready({ stages: [{ name: "full", percent: 100 }] }), {
    kind: "startRollout",
    alias: "agent",
    candidate: "agent@2",
    reason: "",
  });
  return done(full, { kind: "promote", alias: "agent", reason: "good" });
}

function withAlias(changed: Partial<Alias>, world = ready()): World {
  return { ...world, aliases: new Map(world.aliases).set("agent", { ...aliasOf(world), ...changed }) };
}

/** With a version changed behind the registry's back, or gone. */
function withVersion(id: string, changed: Partial<Version> | undefined, world = ready()): World {
  const versions = new Map(world.versions);
  const before = versions.get(id);
  if (changed && before) versions.set(id, { ...before, ...changed });
  else versions.delete(id);
  return { ...world, versions };
}

function withoutSwitches(): World {
  return { ...ready(), killSwitches: new Map() };
}

function register(id: string, payload: Json): Command {
  return { kind: "registerVersion", version: { id, alias: "agent", kind: "prompt", payload, labels: {}, notes: "" } };
}

function done(world: World, command: Command): World {
  const result = transition(world, command, AT);
  if (result.kind !== "change") throw new Error(`${command.kind} was ${JSON.stringify(result)}`);
  return worldAfter(world, result.change);
}

function aliasOf(world: World): Alias {
  const alias = world.aliases.get("agent");
  if (!alias) throw new Error("the alias is gone");
  return alias;
}

function digestOf(value: unknown): string {
  return AT.digestOf(value);
}
