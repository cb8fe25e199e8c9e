import { createHash } from "node:crypto";
import {
  type Change,
  type Circumstances,
  type Command,
  type Conclusion,
  MACHINE,
  type MachineCommand,
  type MachineState,
  PEOPLES_COMMANDS,
  stateOf,
  type Transition,
  transition,
  VERIFICATION,
  type World,
  worldAfter,
} from "@flagback/core";
import { Policy, type RolloutState } from "@flagback/schemas";
import { expect, test } from "vitest";
import { JsonSchemaChecker } from "../../server/src/engine/json-schema-checker.ts";

const NOW = "2026-01-02T03:04:05.678Z";
const AT: Circumstances = {
  actor: { kind: "token", name: "ada", id: "t1" },
  now: NOW,
  digestOf: (value) => createHash("sha256").update(JSON.stringify(value)).digest("hex"),
  payloads: new JsonSchemaChecker(),
};
const STATES = Object.keys(MACHINE) as MachineState[];
const COMMANDS = Object.keys(MACHINE.registered) as MachineCommand[];

/** Each command as somebody gives it who has everything that its cell needs. */
const COMMAND: Record<MachineCommand, Command> = {
  declareStable: { kind: "declareStable", alias: "agent", version: "agent@3", reason: "r" },
  startRollout: { kind: "startRollout", alias: "agent", candidate: "agent@3", reason: "r" },
  advanceRollout: { kind: "advanceRollout", alias: "agent", reason: "r", isHealthy: true, bypassGate: false },
  pauseRollout: { kind: "pauseRollout", alias: "agent", reason: "r" },
  resumeRollout: { kind: "resumeRollout", alias: "agent", reason: "r" },
  promote: { kind: "promote", alias: "agent", reason: "r" },
  rollback: { kind: "rollback", alias: "agent", reason: "r" },
  unlock: { kind: "unlock", alias: "agent", version: "agent@bad", reason: "r", rootCause: "c" },
  holdRollout: hold("shared_cause"),
  endHold: { kind: "endHold", alias: "agent", cause: "no_data", reason: "r" },
};

/** The shortest way to each state, from an alias with a stable version, a candidate and a locked version. */
const WAY: Record<MachineState, () => World> = {
  undeclared: () => world(),
  registered: () => declared(),
  exposing: () => exposing(),
  held: () => after(exposing(), hold("no_data")),
  paused: () => after(exposing(), COMMAND.pauseRollout),
  paused_held: () => after(after(exposing(), hold("no_data")), COMMAND.pauseRollout),
  promoted: () => promoted(),
  promoted_held: () => after(promoted(), hold("no_data")),
  rolled_back: () => after(exposing(), COMMAND.rollback),
  recovering: () => verified("recovering"),
  recovered: () => verified("recovered"),
  unverified: () => verified("unverified"),
  not_recovered: () => verified("not_recovered"),
};

/** Cells whose command needs another world than the shortest way's: a promotion needs 100 %. */
const PREPARED: Partial<Record<`${MachineState} ${MachineCommand}`, () => World>> = {
  "exposing promote": () => after(exposing(), COMMAND.advanceRollout),
};

const CELLS = STATES.flatMap((state) => COMMANDS.map((command) => [state, command] as const));

test("the ways lead to the states that they are named after", () => {
  for (const state of STATES) expect(machineState(WAY[state]())).toBe(state);
});

test.each(CELLS)("in state %s, %s does what the table says", (state, kind) => {
  const cell = MACHINE[state][kind];
  const before = (PREPARED[`${state} ${kind}`] ?? WAY[state])();
  expect(machineState(before)).toBe(state);
  const result = transition(before, COMMAND[kind], AT);
  switch (cell.kind) {
    case "to":
      expect(result.kind, JSON.stringify(result)).toBe("change");
      expect(machineState(next(before, result))).toBe(cell.state);
      break;
    case "unchanged":
      expect(result.kind, JSON.stringify(result)).toBe("unchanged");
      break;
    case "alreadyRolledBack":
      expect(result).toMatchObject({ kind: "already_rolled_back", incident: expect.stringMatching(/^inc_/) });
      break;
    case "refused":
      expect(refusalOf(result)).toMatchObject({ code: cell.code, state });
      break;
  }
});

test.each(CELLS.filter(([state, kind]) => MACHINE[state][kind].kind === "refused"))(
  "in state %s, the refusal of %s names the state, what is possible from there, and who may",
  (state, kind) => {
    const before = WAY[state]();
    const { possible = [], hint, message } = refusalOf(transition(before, COMMAND[kind], AT));
    expect(message).toContain("agent");
    expect(hint.length).toBeGreaterThan(0);
    // What is offered can be done: each offer, given, changes something and leads where it says.
    expect(possible.length).toBeGreaterThan(0);
    for (const offer of possible) {
      const offered = (Object.keys(PEOPLES_COMMANDS) as (keyof typeof PEOPLES_COMMANDS)[]).find(
        (each) => PEOPLES_COMMANDS[each].name === offer.command,
      );
      if (!offered) throw new Error(`nobody knows ${offer.command}`);
      expect(offer.role).toBe(PEOPLES_COMMANDS[offered].role);
      expect(offer.how).not.toContain("ALIAS");
      const prepared = (PREPARED[`${state} ${offered}`] ?? WAY[state])();
      expect(machineState(next(prepared, transition(prepared, COMMAND[offered], AT)))).toBe(offer.leadsTo);
    }
  },
);

test("an end of hold for another cause, and a lesser cause, change nothing", () => {
  for (const state of ["held", "paused_held", "promoted_held"] as const) {
    const graver = after(WAY[state](), hold("shared_cause"));
    expect(transition(graver, COMMAND.endHold, AT).kind).toBe("unchanged");
    expect(transition(graver, hold("sample_ratio"), AT).kind).toBe("unchanged");
  }
});

test("a bypass opens the gate, but neither a pause nor a hold: a person resumes first", () => {
  const bypass: Command = { ...COMMAND.advanceRollout, bypassGate: true, isHealthy: false } as Command;
  expect(transition(WAY.exposing(), bypass, AT).kind).toBe("change");
  for (const state of ["held", "paused", "paused_held"] as const) {
    expect(refusalOf(transition(WAY[state](), bypass, AT))).toMatchObject({ code: "gate_closed", state });
  }
});

test("a promotion is final when its window is over, but not while a hold waits for an answer", () => {
  const late = "2026-01-09T03:04:05.678Z";
  expect(machineState(WAY.promoted(), late)).toBe("registered");
  const held = WAY.promoted_held();
  expect(machineState(held, late)).toBe("promoted_held");
  const target = transition(held, { kind: "retireVersion", id: "agent@1", reason: "old" }, { ...AT, now: late });
  expect(refusalOf(target).code).toBe("version_in_use");
  expect(machineState(next(held, transition(held, COMMAND.resumeRollout, { ...AT, now: late })), late)).toBe(
    "registered",
  );
});

const CONCLUSIONS: readonly Conclusion[] = ["recovered", "unverified", "not_recovered"];

test.each((["rolled_back", ...CONCLUSIONS] as const).flatMap((state) => CONCLUSIONS.map((as) => [state, as] as const)))(
  "in state %s, a verification that concludes %s does what the table says",
  (state, as) => {
    const back = after(exposing(), COMMAND.rollback);
    const [incident] = back.incidents.keys();
    const settle = (each: Conclusion): Command => ({
      kind: "settleIncident",
      incident: incident ?? "",
      as: each,
      because: "a test says so",
      recovery: { runs: 0, guardrails: [] },
    });
    const before = state === "rolled_back" ? back : after(back, settle(state));
    expect(machineState(before)).toBe(state);
    const result = transition(before, settle(as), AT);
    const leadsTo = VERIFICATION[state][as];
    expect(result.kind).toBe(leadsTo === null ? "unchanged" : "change");
    if (leadsTo !== null) expect(machineState(next(before, result))).toBe(leadsTo);
  },
);

test("a command for a rollout that is over changes nothing in any state", () => {
  for (const state of STATES) {
    const late: Command = { kind: "rollback", alias: "agent", reason: "r", rolloutNumber: 7 };
    expect(transition(WAY[state](), late, AT).kind, state).toBe("unchanged");
  }
});

function world(): World {
  let empty: World = {
    aliases: new Map(),
    versions: new Map(),
    killSwitches: new Map(),
    flags: new Map(),
    decisions: new Map(),
    incidents: new Map(),
    triggers: new Map(),
  };
  empty = after(empty, { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } });
  for (const id of ["agent@1", "agent@2", "agent@3", "agent@bad"]) {
    const version = { id, alias: "agent", kind: "prompt", payload: { id }, labels: {}, notes: "" } as const;
    empty = after(empty, { kind: "registerVersion", version });
  }
  const stages = [
    { name: "canary", percent: 5 },
    { name: "full", percent: 100 },
  ];
  const policy = Policy.parse({ guardrails: [{ metric: "error_rate", max: 0.05 }], stages });
  empty = after(empty, { kind: "putAlias", name: "agent", policy });
  const alias = empty.aliases.get("agent");
  const digest = empty.versions.get("agent@bad")?.digest;
  if (!alias || !digest) throw new Error("the alias is gone");
  const locks = [{ digest, version: "agent@bad", reason: "earlier", at: NOW, by: "ada" }];
  return { ...empty, aliases: new Map([["agent", { ...alias, locks }]]) };
}

function declared(): World {
  return after(world(), { kind: "declareStable", alias: "agent", version: "agent@1", reason: "r" });
}

function exposing(): World {
  return after(declared(), { kind: "startRollout", alias: "agent", candidate: "agent@2", reason: "r" });
}

function promoted(): World {
  return after(after(exposing(), COMMAND.advanceRollout), COMMAND.promote);
}

/** A rollback whose verification has come this far. */
function verified(state: RolloutState): World {
  const back = after(exposing(), COMMAND.rollback);
  const alias = back.aliases.get("agent");
  if (!alias?.rollout) throw new Error("the rollout is gone");
  return { ...back, aliases: new Map([["agent", { ...alias, rollout: { ...alias.rollout, state } }]]) };
}

function hold(cause: "no_data" | "shared_cause" | "sample_ratio"): Command {
  return { kind: "holdRollout", alias: "agent", cause, summary: "Look.", evidence: [], engage: false };
}

function machineState(of: World, now = NOW): MachineState {
  const alias = of.aliases.get("agent");
  if (!alias) throw new Error("the alias is gone");
  return stateOf(alias, now);
}

function next(before: World, result: Transition): World {
  if (result.kind !== "change") throw new Error(JSON.stringify(result));
  return worldAfter(before, result.change satisfies Change);
}

function after(before: World, command: Command): World {
  return next(before, transition(before, command, AT));
}

function refusalOf(result: Transition) {
  if (result.kind !== "refused") throw new Error(`not refused: ${result.kind}`);
  return result.refusal;
}
