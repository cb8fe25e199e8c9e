import {
  type Command,
  type Conclusion,
  MACHINE,
  type MachineCommand,
  type MachineState,
  PEOPLES_COMMANDS,
  transition,
  VERIFICATION,
  type World,
} from "@flagback/core";
import { expect, test } from "vitest";
import {
  AT,
  COMMAND,
  COMMANDS,
  carried,
  conclusion,
  exposing,
  hold,
  machineState,
  next,
  refusalOf,
  STATES,
  WAY,
} from "./support-machine.ts";
import { answered } from "./support-world.ts";

/** Cells whose command needs another world than the shortest way's: a promotion 100 %, a start that the incident is answered for. */
const PREPARED: Partial<Record<`${MachineState} ${MachineCommand}`, () => World>> = {
  "exposing promote": () => carried(exposing(), COMMAND.advanceRollout),
  ...Object.fromEntries(
    (["rolled_back", "recovering", "recovered", "unverified", "not_recovered"] as const).map((state) => [
      `${state} startRollout`,
      () => answered(WAY[state]()),
    ]),
  ),
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
    const graver = carried(WAY[state](), hold("shared_cause"));
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

const CONCLUSIONS: readonly Conclusion[] = ["recovering", "recovered", "unverified", "not_recovered"];

test.each((["rolled_back", ...CONCLUSIONS] as const).flatMap((state) => CONCLUSIONS.map((as) => [state, as] as const)))(
  "in state %s, a verification that concludes %s does what the table says",
  (state, as) => {
    const before = WAY[state]();
    const result = transition(before, conclusion(before, as), AT);
    const leadsTo = VERIFICATION[state][as];
    const afterwards = result.kind === "change" ? next(before, result) : before;
    expect(machineState(afterwards)).toBe(leadsTo ?? state);
  },
);

test("a command for a rollout that is over changes nothing in any state", () => {
  for (const state of STATES) {
    const late: Command = { kind: "rollback", alias: "agent", reason: "r", rolloutNumber: 7 };
    expect(transition(WAY[state](), late, AT).kind, state).toBe("unchanged");
  }
});
