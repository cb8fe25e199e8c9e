import { createHash } from "node:crypto";
import {
  type Circumstances,
  type Command,
  drillPolicy,
  faultyRun,
  firingFinding,
  hasPassed,
  healthyRun,
  transition,
  type World,
  worldAfter,
} from "@flagback/core";
import { DRILL_CHECKS, DrillFault, type DrillStep, EXERCISE_STEPS, Policy, type PolicyInput } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { JsonSchemaChecker } from "../../server/src/engine/json-schema-checker.ts";
import { EMPTY_WORLD } from "../support/empty-world.ts";

const AT: Circumstances = {
  actor: { kind: "token", name: "ada", id: "t1" },
  now: "2026-01-02T03:04:05.678Z",
  payloads: new JsonSchemaChecker(),
  digestOf: (value) => createHash("sha256").update(JSON.stringify(value)).digest("hex"),
};
const ERROR_RATE = { metric: "error_rate", max: 0.05 } as const;
const MOST_RUNS = 1_000;

describe("the shadow of an alias", () => {
  test("has the alias's own policy, versions and fail-safe, and no name that anybody else resolves", () => {
    const world = done(worldWith(), opened());
    const shadow = world.aliases.get("drill.agent");
    expect(shadow).toMatchObject({ stable: "drill.agent@1", candidates: ["drill.agent@2"], locks: [], rollout: null });
    expect(shadow?.policy?.guardrails).toEqual(policy().guardrails);
    expect(shadow?.policy?.onBreach.engage).toEqual(["drill.agent.writes_disabled"]);
    expect(world.killSwitches.get("drill.agent.writes_disabled")).toMatchObject({
      engaged: [],
      failSafe: { engage: true, afterMs: 0 },
    });
    for (const id of ["agent@1", "agent@2"]) {
      const { payload, digest, kind } = world.versions.get(id) ?? {};
      expect(world.versions.get(`drill.${id}`)).toMatchObject({ alias: "drill.agent", payload, digest, kind });
    }
    expect(world.versions.get("drill.agent@2+twin")?.digest).toBe(world.versions.get("agent@2")?.digest);
  });

  test("leaves the alias itself, its versions and its switches as they were, opened, rolled back and closed", () => {
    const before = worldWith();
    const world = done(
      before,
      opened(),
      { kind: "startRollout", alias: "drill.agent", candidate: "drill.agent@2", reason: "" },
      { kind: "rollback", alias: "drill.agent", reason: "a drill" },
      { kind: "closeDrill", alias: "agent", state: "passed", summary: "It passed." },
    );
    expect(world.aliases.get("agent")).toEqual(before.aliases.get("agent"));
    expect(world.versions.get("agent@2")).toEqual(before.versions.get("agent@2"));
    expect(world.killSwitches.get("writes_disabled")).toEqual(before.killSwitches.get("writes_disabled"));
  });

  test("is empty once the drill is over: nothing served, nothing locked, nothing engaged, no incident open", () => {
    const world = done(
      worldWith(),
      opened(),
      { kind: "startRollout", alias: "drill.agent", candidate: "drill.agent@2", reason: "" },
      { kind: "rollback", alias: "drill.agent", reason: "a drill" },
      { kind: "closeDrill", alias: "agent", state: "abandoned", summary: "Nobody was left." },
    );
    expect(world.aliases.get("drill.agent")).toMatchObject({
      allocation: [],
      stable: null,
      candidates: [],
      policy: null,
      locks: [],
      rollout: null,
      rolloutNumber: 1,
    });
    expect(world.killSwitches.get("drill.agent.writes_disabled")?.engaged).toEqual([]);
    expect([...world.incidents.values()].map(({ state }) => state)).toEqual(["closed"]);
  });

  test("leaves no decision open that nobody answered while it lasted", () => {
    const asked = done(
      worldWith(),
      opened(),
      { kind: "startRollout", alias: "drill.agent", candidate: "drill.agent@2", reason: "" },
      {
        kind: "ask",
        alias: "drill.agent",
        finding: { reason: "sla_breach", attribution: "candidate", evidence: [], lastRunIds: [], input: null },
        leading: "error_rate",
        summary: "10 of 10 runs failed.",
        engage: false,
      },
    );
    expect([...asked.asked.values()].map(({ state }) => state)).toEqual(["open"]);
    const over = done(asked, { kind: "closeDrill", alias: "agent", state: "abandoned", summary: "Nobody was left." });
    expect([...over.asked.values()].map(({ state }) => state)).toEqual(["superseded"]);
  });

  test("a payload that was damaged since the last drill is the one that the next drill gets", () => {
    const world = done(worldWith(), opened(), {
      kind: "closeDrill",
      alias: "agent",
      state: "passed",
      summary: "It passed.",
    });
    const stable = world.versions.get("agent@1");
    if (!stable) throw new Error("agent@1 is there");
    const damaged: World = { ...world, versions: new Map(world.versions).set("agent@1", { ...stable, payload: null }) };
    expect(done(damaged, opened()).versions.get("drill.agent@1")?.payload).toBeNull();
  });

  test("an alias without a second version gets a stand-in, so that its rollback can be rehearsed as well", () => {
    const world = done(worldWith({ candidates: [] }), opened());
    expect(world.aliases.get("drill.agent")?.candidates).toEqual(["drill.agent@stand-in"]);
    expect(world.versions.get("drill.agent@stand-in")?.digest).not.toBe(world.versions.get("agent@1")?.digest);
  });

  test("an alias without a way back can't be drilled, and is told what is missing", () => {
    const world = worldWith({ policy: null });
    expect(refusal(world, opened())).toMatchObject({
      code: "rollback_plan_missing",
      problems: ["the alias has no policy with a guardrail"],
    });
  });

  test("stopping everything leaves the switches of drills alone", () => {
    const world = done(worldWith(), opened(), { kind: "stopEverything", reason: "fire", entryId: "e" });
    expect(world.killSwitches.get("writes_disabled")?.engaged).toHaveLength(1);
    expect(world.killSwitches.get("drill.agent.writes_disabled")?.engaged).toEqual([]);
  });

  test.each<Command>([
    { kind: "putAlias", name: "drill.mine" },
    { kind: "putKillSwitch", key: "drill.mine", failSafe: { engage: true, afterMs: 0 } },
    {
      kind: "putFlag",
      key: "drill.mine",
      definition: { state: "ENABLED", variants: { on: true }, defaultVariant: "on" },
    },
    {
      kind: "registerVersion",
      version: { id: "drill.mine@1", alias: "agent", kind: "agent", payload: {}, labels: {}, notes: "" },
    },
  ])("$kind can't take a name that belongs to drills", (command) => {
    expect(refusal(worldWith(), command)).toMatchObject({ code: "bad_request" });
  });
});

describe("the policy of a drill", () => {
  test("waits for nothing, says each difference, and leaves the guardrails alone", () => {
    const own = policy({ advance: "auto", requireDrill: "perRelease" });
    const { policy: drilled, adjustments } = drillPolicy(own, ["errors"], (key) => `drill.agent.${key}`);
    expect(drilled).toMatchObject({ guardrails: own.guardrails, alpha: own.alpha, advance: "manual" });
    expect(drilled.requireDrill).toBeUndefined();
    expect(adjustments).toEqual([
      "Stages are 20 %, 40 %, 60 %, 80 %, 100 % without a soak, instead of 1 % for 10m, 5 % for 30m, 25 % for 1h, 50 % for 1h, 100 % for 0s.",
      "advance is manual instead of auto: the candidate stays at its first stage.",
      "requireDrill is left out: this is the drill.",
      "recovery.window is 20s instead of 10m.",
      "onSharedCause.for is 10s instead of 5m.",
    ]);
  });

  test("waits two seconds for an answer where a guardrail asks people, because nobody is there", () => {
    const own = policy({ guardrails: [{ ...ERROR_RATE, mode: "approval" }], approval: { atDeadline: "continue" } });
    const { policy: drilled, adjustments } = drillPolicy(own, ["errors"], (key) => key);
    expect(drilled.approval).toEqual({ ...own.approval, deadline: "2s" });
    expect(adjustments).toContain("approval.deadline is 2s instead of 30m.");
  });

  test("keeps as many stages as before, growing, so that a stop needs as much evidence as before", () => {
    const percents = fc
      .uniqueArray(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 16 })
      .map((numbers) => numbers.sort((a, b) => a - b));
    fc.assert(
      fc.property(percents, (numbers) => {
        const own = policy({ stages: numbers.map((percent) => ({ name: `s${percent}`, percent, soak: "1h" })) });
        const { stages } = drillPolicy(own, ["errors"], (key) => key).policy;
        expect(stages.map(({ name }) => name)).toEqual(own.stages.map(({ name }) => name));
        expect(stages[0]?.percent).toBeGreaterThanOrEqual(20);
        for (const [index, { percent }] of stages.entries()) {
          expect(percent).toBeGreaterThan(stages[index - 1]?.percent ?? 0);
          expect(percent).toBeLessThanOrEqual(100);
        }
      }),
    );
  });
});

describe("whether a policy can fire", () => {
  // docs/brain.md: at a limit of 5 % and one stage, 3 failures in a row from the start are enough.
  test("three failures in a row stop at a limit of 5 %", () => {
    const one = policy({ stages: [{ name: "all", percent: 100 }] });
    expect(firingFinding(one, "errors", MOST_RUNS)).toEqual({
      isMet: true,
      why: "error_rate stops a candidate after 3 runs in a row with errors",
    });
  });

  test("a policy that does not look at a fault can't fire on it, and says what is missing", () => {
    expect(firingFinding(policy(), "latency", MOST_RUNS)).toEqual({
      isMet: false,
      why: "no guardrail of the policy that can decide looks at slow answers",
    });
    const observing = policy({
      guardrails: [
        { ...ERROR_RATE, mode: "observe" },
        { metric: "quality", min: 0.8 },
      ],
    });
    expect(firingFinding(observing, "errors", MOST_RUNS).isMet).toBe(false);
  });

  test("a limit that nothing breaks in a thousand runs is as good as none", () => {
    const loose = policy({ guardrails: [{ metric: "error_rate", max: 0.999 }] });
    expect(firingFinding(loose, "errors", MOST_RUNS)).toEqual({
      isMet: false,
      why: "1000 runs with errors in a row are not enough for error_rate to stop a candidate",
    });
  });

  test("what a drill reports as healthy breaks no guardrail, and each fault breaks the one that sees it", () => {
    const strict = policy({
      guardrails: [
        ERROR_RATE,
        { metric: "latency_p95_ms", max: 40 },
        { metric: "tool_failure_rate", max: 0.01 },
        { metric: "quality", min: 0.9 },
        { metric: "cost_usd_mean", max: 0.01, cap: 1 },
        { metric: "custom.steps", p95: 4 },
      ],
    });
    expect(healthyRun(strict)).toMatchObject({ status: "success", toolErrors: 0, quality: 1, costUsd: 0 });
    expect(healthyRun(strict).durationMs).toBeLessThan(40);
    for (const fault of DrillFault.options) expect(firingFinding(strict, fault, MOST_RUNS).isMet).toBe(true);
    expect(faultyRun(strict, "silence")).toBeNull();
  });
});

describe("a drill has passed", () => {
  const STEPS: DrillStep[] = [
    ...DRILL_CHECKS.map((name): DrillStep => ({ name, result: "pass", why: "", ms: 0 })),
    ...EXERCISE_STEPS.map((name): DrillStep => ({ name, fault: "errors", result: "pass", why: "", ms: 0 })),
  ];

  test("when every step of every fault was done and passed", () => {
    expect(hasPassed({ steps: STEPS, faults: ["errors"] })).toBe(true);
    expect(hasPassed({ steps: STEPS, faults: ["errors", "crash"] })).toBe(false);
    expect(hasPassed({ steps: STEPS, faults: ["errors"], because: "it was interrupted" })).toBe(false);
  });

  test("not when any step is missing or failed, whichever it is", () => {
    for (const step of STEPS) {
      const others = STEPS.filter((each) => each !== step);
      expect(hasPassed({ steps: others, faults: ["errors"] })).toBe(false);
      expect(hasPassed({ steps: [...others, { ...step, result: "fail" }], faults: ["errors"] })).toBe(false);
    }
  });
});

describe("a policy that demands a drill", () => {
  const START: Command = { kind: "startRollout", alias: "agent", candidate: "agent@2", reason: "" };

  test("refuses the rollout until one has passed, and says how", () => {
    const world = worldWith({ policy: policy({ requireDrill: "perRelease" }) });
    expect(refusal(world, START)).toMatchObject({
      code: "drill_required",
      problems: ["no drill of this candidate and this rollback target has passed"],
    });
    const drills = [passOf(world)];
    expect(done(world, { ...START, drills }).aliases.get("agent")?.rollout?.state).toBe("exposing");
  });

  test("lets a lead start without it for a reason, loudly", () => {
    const world = worldWith({ policy: policy({ requireDrill: { maxAge: "30d" } }) });
    expect(refusal(world, { ...START, bypassGate: true })).toMatchObject({ code: "bad_request" });
    const started = transition(world, { ...START, bypassGate: true, reason: "a hot fix" }, AT);
    if (started.kind !== "change") throw new Error(`the start was ${started.kind}`);
    expect(started.change.alerts).toEqual([
      {
        kind: "bypass",
        alias: "agent",
        text: "Gate bypassed agent@2 -> 1 % (stage canary) by ada, reason=a hot fix. Bypassed the gate, which said: no drill has passed on agent.",
      },
    ]);
  });
});

function policy(fields: Partial<PolicyInput> = {}): Policy {
  return Policy.parse({ guardrails: [ERROR_RATE], ...fields });
}

function opened(): Command {
  return { kind: "openDrill", alias: "agent", faults: ["errors"] };
}

function passOf(world: World) {
  return {
    alias: "agent",
    candidateDigest: world.versions.get("agent@2")?.digest ?? "",
    targetDigest: world.versions.get("agent@1")?.digest ?? "",
    at: AT.now,
  };
}

function worldWith(fields: { readonly policy?: Policy | null; readonly candidates?: readonly string[] } = {}): World {
  const { candidates = ["agent@2"] } = fields;
  const chosen = fields.policy === undefined ? policy() : fields.policy;
  const version = (id: string) => ({ id, alias: "agent", kind: "prompt" as const, labels: {}, notes: "" });
  return done(
    EMPTY_WORLD,
    { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } },
    { kind: "registerVersion", version: { ...version("agent@1"), payload: { prompt: "Be kind." } } },
    { kind: "registerVersion", version: { ...version("agent@2"), payload: { prompt: "Be brief." } } },
    { kind: "putAlias", name: "agent", policy: chosen },
    { kind: "declareStable", alias: "agent", version: "agent@1", reason: "it serves" },
    { kind: "addCandidates", alias: "agent", versions: candidates },
  );
}

function done(world: World, ...commands: readonly Command[]): World {
  return commands.reduce((before, command) => {
    const result = transition(before, command, AT);
    if (result.kind === "refused") throw new Error(`${command.kind}: ${result.refusal.message}`);
    return result.kind === "change" ? worldAfter(before, result.change) : before;
  }, world);
}

function refusal(world: World, command: Command) {
  const result = transition(world, command, AT);
  return result.kind === "refused" ? result.refusal : result;
}
