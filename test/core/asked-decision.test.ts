import {
  type Circumstances,
  type Command,
  canRollBack,
  hasDoubled,
  MACHINE,
  stateOf,
  transition,
  type World,
  worldAfter,
} from "@flagback/core";
import type { AskedDecision, GuardrailEvidence, KillSwitch } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AT,
  asking,
  COMMAND,
  carried,
  decisionOf,
  exposing,
  hold,
  machineState,
  NOW,
  next,
  refusalOf,
  WAY,
} from "./support-machine.ts";

const ID = decisionOf(1);
const ENGAGING = { approval: { deadline: "30m", atDeadline: "continue", engage: true } } as const;
const BOB: Circumstances = { ...AT, actor: { kind: "token", name: "bob", id: "t2" } };
const BRAIN: Circumstances = { ...AT, actor: { kind: "brain", name: "brain" } };
const LATER: Circumstances = { ...AT, now: "2026-01-02T03:34:05.678Z" };

describe("asking", () => {
  test("holds the rollout, says until when and what happens then, and tells people", () => {
    const before = exposing();
    const asked = transition(before, asking(), BRAIN);
    if (asked.kind !== "change") throw new Error(asked.kind);
    const world = next(before, asked);
    expect(askedOf(world)).toMatchObject({
      id: ID,
      state: "open",
      round: 1,
      openedAt: NOW,
      // The policy's default: half an hour, and then the safe way.
      deadline: "2026-01-02T03:34:05.678Z",
      atDeadline: "rollback",
      engaged: [],
      input: { judged: "on this" },
    });
    expect(world.aliases.get("agent")?.rollout).toMatchObject({ hold: { cause: "approval" }, openDecision: ID });
    expect(asked.change.alerts).toMatchObject([{ kind: "approval", decision: ID, round: 1 }]);
    expect(asked.change.audit).toMatchObject({ decision: "allow", decisionId: ID, lastRunIds: ["run-1"] });
  });

  test("engages the kill switches at once where the policy or the guardrail says so, and a rejection releases them", () => {
    const engaging = [carried(exposing(ENGAGING), asking()), carried(exposing(), { ...asking(), engage: true })];
    for (const world of engaging) {
      expect(engagedBy(world)).toEqual([`decision_${ID.slice(0, 12)}`]);
      expect(askedOf(world).engaged).toEqual(["writes_disabled"]);
      expect(engagedBy(carried(world, COMMAND.reject))).toEqual([]);
    }
  });

  test("keeps a graver hold, which a rejection leaves as it is", () => {
    const world = carried(carried(exposing(), hold("shared_cause")), asking());
    expect(world.aliases.get("agent")?.rollout?.hold?.cause).toBe("shared_cause");
    const { possible = [] } = refusalOf(transition(world, COMMAND.advanceRollout, AT));
    expect(possible.find(({ command }) => command === "reject")?.leadsTo).toBe("held");
    expect(machineState(carried(world, COMMAND.reject))).toBe("held");
  });
});

describe("approving", () => {
  test("rolls back on what was found when people were asked, under the id of the brain's own stop", () => {
    const world = carried(WAY.deciding(), COMMAND.approve, BOB);
    expect(machineState(world)).toBe("rolled_back");
    const incident = world.incidents.get(world.decisions.get(ID) ?? "");
    expect(incident).toMatchObject({
      reason: "sla_breach",
      attribution: "candidate",
      evidence: [{ guardrail: "error_rate", k: 10 }],
      approval: { by: "bob", askedAt: NOW, isDeadline: false },
      notes: [{ by: "bob", text: "r" }],
    });
    expect(incident?.timeline.map(({ by }) => by)).toEqual(["bob"]);
    expect(askedOf(world)).toMatchObject({ state: "approved", closed: { by: "bob" }, incident: incident?.id });
    expect(askedOf(world)).not.toHaveProperty("input");
  });

  test("keeps with the decision what it was judged on", () => {
    const approved = transition(WAY.deciding(), COMMAND.approve, AT);
    expect(approved).toMatchObject({
      change: {
        stops: [{ decision: { id: ID, input: { judged: "on this" }, askedRound: 1 } }],
        audit: { decision: "stop" },
      },
    });
  });

  test("hands what the decision engaged to the incident, whose recovery releases it", () => {
    const world = carried(carried(exposing(ENGAGING), asking()), COMMAND.approve);
    expect(engagedBy(world)).toEqual([world.decisions.get(ID)]);
  });
});

describe("two at once", () => {
  const orders = [
    ["approve", "approve"],
    ["approve", "reject"],
    ["reject", "approve"],
    ["reject", "reject"],
  ] as const;

  test.each(orders)("of %s and then %s the first is carried out, and the second says so", (first, second) => {
    const world = carried(WAY.deciding(), COMMAND[first]);
    const late = transition(world, COMMAND[second], BOB);
    if (first === "approve" && second === "approve") {
      expect(late).toMatchObject({ kind: "already_rolled_back", decisionId: ID });
      return;
    }
    const refusal = refusalOf(late);
    expect(refusal).toMatchObject({
      code: "decision_not_open",
      state: first === "approve" ? "rolled_back" : "exposing",
    });
    expect(refusal.message).toContain("ada");
    expect(machineState(world)).toBe(first === "approve" ? "rolled_back" : "exposing");
  });

  test("a rollback by the brain or by a person closes the decision, and an approval after it answers the same incident", () => {
    const finding = { ...asking().finding, reason: "error_spike" } as const;
    for (const rollback of [{ ...COMMAND.rollback, finding }, COMMAND.rollback] as Command[]) {
      const world = carried(WAY.deciding(), rollback, BRAIN);
      expect(askedOf(world)).toMatchObject({ state: "superseded", incident: world.decisions.get(ID) });
      expect(transition(world, COMMAND.approve, AT)).toMatchObject({
        kind: "already_rolled_back",
        incident: world.decisions.get(ID),
      });
      expect(world.incidents.size).toBe(1);
    }
  });

  test("who pauses or resumes meanwhile takes the decision upon them", () => {
    const paused = carried(carried(exposing(ENGAGING), asking()), COMMAND.pauseRollout);
    expect(machineState(paused)).toBe("paused_held");
    expect(askedOf(paused)).toMatchObject({ state: "superseded", closed: { because: "Paused: r" } });
    // Pausing is no reason to let writes through again; resuming is.
    expect(engagedBy(paused)).toHaveLength(1);
    const resumed = carried(paused, COMMAND.resumeRollout);
    expect(machineState(resumed)).toBe("exposing");
    expect(engagedBy(resumed)).toEqual([]);
    expect(askedOf(carried(WAY.deciding(), COMMAND.resumeRollout))).toMatchObject({ state: "superseded" });
  });
});

describe("the deadline", () => {
  test("is too late for people, and what they get to know says what happens instead", () => {
    for (const kind of ["approve", "reject"] as const) {
      const refusal = refusalOf(transition(WAY.deciding(), COMMAND[kind], LATER));
      expect(refusal).toMatchObject({ code: "decision_expired", state: "deciding" });
      expect(refusal.message).toContain("is rolled back");
      expect(refusal.possible?.map(({ command }) => command)).toContain("rollback");
    }
  });

  test("rolls back, or lets the rollout go on, as the brain's answer", () => {
    const approved = carried(WAY.deciding(), { ...COMMAND.approve, isDeadline: true } as Command, BRAIN);
    expect(machineState(approved)).toBe("rolled_back");
    expect(askedOf(approved)).toMatchObject({ state: "expired", closed: { by: "brain" } });
    expect([...approved.incidents.values()][0]).toMatchObject({ approval: { isDeadline: true }, notes: [] });

    const rejected = transition(WAY.deciding(), { ...COMMAND.reject, isDeadline: true } as Command, BRAIN);
    expect(rejected).toMatchObject({ change: { action: "decision.expire", alerts: [{ kind: "continued" }] } });
    expect(askedOf(next(WAY.deciding(), rejected))).toMatchObject({ state: "expired" });
  });
});

describe("asking again", () => {
  test("needs twice the log evidence of the last time, also after what superseded it", () => {
    for (const answer of [COMMAND.reject, COMMAND.resumeRollout]) {
      const answered = carried(WAY.deciding(), answer);
      expect(transition(answered, asking(9.9), BRAIN).kind).toBe("unchanged");
      const again = carried(answered, asking(10));
      expect(askedOf(again)).toMatchObject({ state: "open", round: 2 });
      expect(transition(carried(again, COMMAND.reject), asking(19.9), BRAIN).kind).toBe("unchanged");
    }
  });

  test("makes an answer to the first time no answer to the second", () => {
    const again = carried(carried(WAY.deciding(), COMMAND.reject), asking(10));
    const late = transition(again, { ...COMMAND.approve, round: 1 } as Command, AT);
    expect(refusalOf(late)).toMatchObject({ code: "decision_not_open", state: "deciding" });
    expect(machineState(carried(again, { ...COMMAND.approve, round: 2 } as Command))).toBe("rolled_back");
  });

  test.each<[string, Partial<GuardrailEvidence>, Partial<GuardrailEvidence>, boolean]>([
    ["a second event after one", { kind: "critical", k: 1 }, { kind: "critical", k: 2 }, true],
    ["the same event", { kind: "critical", k: 1 }, { kind: "critical", k: 1 }, false],
    ["a budget spent twice", { kind: "budget", k: 200, limit: 200 }, { kind: "budget", k: 400, limit: 200 }, true],
    ["a budget spent half more", { kind: "budget", k: 200, limit: 200 }, { kind: "budget", k: 300, limit: 200 }, false],
    ["evidence of one that asks nobody", { mode: "automatic", logE: 5 }, { mode: "automatic", logE: 50 }, false],
  ])("%s", (_, before, now, expected) => {
    const evidence = {
      guardrail: "g",
      n: 10,
      k: 0,
      rate: 0,
      p0: 0.05,
      logE: 0,
      share: 0,
      threshold: 4.6,
      mode: "approval",
    };
    const of = (part: Partial<GuardrailEvidence>) => [{ ...evidence, ...part } as GuardrailEvidence];
    expect(hasDoubled(of(before), of(now))).toBe(expected);
  });
});

test("no sequence of commands leaves a decision open on a rollout that is over, or without what it needs", () => {
  const step = fc.record({
    kind: fc.constantFrom(...KINDS),
    logE: fc.constantFrom(5, 10, 20, 40),
    minutes: fc.constantFrom(0, 1, 40),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.boolean(), (steps, engage) => {
      let world = exposing({ approval: { engage } });
      let nowMs = Date.parse(NOW);
      for (const { kind, logE, minutes } of steps) {
        nowMs += minutes * 60_000;
        const at = { ...AT, now: new Date(nowMs).toISOString() };
        const result = transition(world, commandOf(kind, logE, world), at);
        if (result.kind === "change") world = worldAfter(world, result.change);
        else if (result.kind === "refused") expect(result.refusal.state).toBeDefined();
        expectConsistent(world, at.now);
      }
    }),
    { numRuns: 300 },
  );
});

const KINDS = [
  ...(Object.keys(MACHINE.exposing) as (keyof typeof MACHINE.exposing)[]),
  "deadlineRollback",
  "deadlineContinue",
] as const;

function commandOf(kind: (typeof KINDS)[number], logE: number, world: World): Command {
  const rolloutNumber = world.aliases.get("agent")?.rolloutNumber ?? 1;
  const decision = world.aliases.get("agent")?.rollout?.openDecision ?? ID;
  switch (kind) {
    case "ask":
      return asking(logE, rolloutNumber);
    case "approve":
    case "reject":
      return { kind, alias: "agent", decision, reason: "r" };
    case "deadlineRollback":
      return { kind: "approve", alias: "agent", decision, reason: "r", isDeadline: true };
    case "deadlineContinue":
      return { kind: "reject", alias: "agent", decision, reason: "r", isDeadline: true };
    case "unlock":
      return { ...COMMAND.unlock, version: "agent@3" } as Command;
    default:
      return COMMAND[kind];
  }
}

function expectConsistent(world: World, now: string): void {
  const alias = world.aliases.get("agent");
  if (!alias?.rollout) throw new Error("the rollout is gone");
  const { openDecision, hold: held, state } = alias.rollout;
  const open = [...world.asked.values()].filter((asked) => asked.state === "open");
  expect(open.map(({ id }) => id)).toEqual(openDecision === undefined ? [] : [openDecision]);
  if (openDecision !== undefined) {
    expect(held).toBeDefined();
    expect(canRollBack(alias, now)).toBe(true);
    expect(stateOf(alias, now)).toMatch(/deciding$/);
  }
  const isOver = !["exposing", "paused", "promoted"].includes(state);
  for (const { engaged } of world.killSwitches.values()) {
    // What a hold or a decision engaged is the incident's after a rollback, and nobody's after a rejection.
    for (const { owner, id } of engaged) {
      if (isOver) expect(owner).toMatch(/^incident:/);
      else if (id.startsWith("decision_")) expect(held).toBeDefined();
    }
  }
  for (const { state: asked, closed } of world.asked.values()) expect(closed === undefined).toBe(asked === "open");
  expect(world.decisions.size).toBe(world.incidents.size);
}

function askedOf(world: World): AskedDecision {
  const found = world.asked.get(ID);
  if (!found) throw new Error("nobody was asked");
  return found;
}

function engagedBy(world: World): string[] {
  const { engaged } = world.killSwitches.get("writes_disabled") as KillSwitch;
  return engaged.map(({ id }) => id);
}
