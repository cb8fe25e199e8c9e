/**
 * The rollout machine (DESIGN 7) as one table: what each command does in each state, and who may give it. `rolloutStep` obeys
 * it, docs/rollouts.md is drawn from it, and a test tries every cell.
 */
import type { ErrorCode, Role } from "@flagback/schemas";
import type { Command } from "./commands.ts";

/**
 * Where a rollout stands. The last five follow a rollback: `rolled_back` until every runtime follows, `recovering` until stable
 * is proven healthy or the window is over. `undeclared` and `registered` have nothing to roll back. While it is `deciding`,
 * people are asked whether to roll back, and it is held too.
 */
export type MachineState =
  | "undeclared"
  | "registered"
  | "exposing"
  | "held"
  | "deciding"
  | "paused"
  | "paused_held"
  | "paused_deciding"
  | "promoted"
  | "promoted_held"
  | "promoted_deciding"
  | "rolled_back"
  | "recovering"
  | "recovered"
  | "unverified"
  | "not_recovered";

/** Commands of people, with the least role that may give each and how the command line says it. */
export const PEOPLES_COMMANDS = {
  declareStable: {
    name: "declare-stable",
    role: "lead",
    does: "declare the version that serves everything and that a rollback returns to",
    how: 'POST /v1/aliases/ALIAS/declare-stable {"version": "...", "reason": "..."}',
  },
  startRollout: {
    name: "start",
    role: "lead",
    does: "expose a candidate to its first traffic",
    how: "flagback rollout start ALIAS --candidate VERSION",
  },
  rollForward: {
    name: "roll-forward",
    role: "lead",
    does: "start a fix on the fast track, past an open incident and the ordinary stages; people are alerted",
    how: 'flagback rollout forward ALIAS VERSION --reason "..."',
  },
  advanceRollout: {
    name: "advance",
    role: "lead",
    does: "go to the next stage",
    how: 'flagback rollout advance ALIAS --reason "..."',
  },
  pauseRollout: {
    name: "pause",
    role: "operator",
    does: "keep the weights where they are",
    how: 'flagback rollout pause ALIAS --reason "..."',
  },
  resumeRollout: {
    name: "resume",
    role: "lead",
    does: "end a pause or a hold",
    how: 'flagback rollout resume ALIAS --reason "..."',
  },
  promote: {
    name: "promote",
    role: "lead",
    does: "make the candidate the stable version",
    how: 'flagback rollout promote ALIAS --reason "..."',
  },
  rollback: {
    name: "rollback",
    role: "operator",
    does: "return all traffic to the rollback target, and lock the candidate",
    how: 'flagback rollback ALIAS --reason "..."',
  },
  approve: {
    name: "approve",
    role: "operator",
    does: "say yes to the rollback that the brain asks for",
    how: 'flagback approve DECISION --reason "..."',
  },
  reject: {
    name: "reject",
    role: "operator",
    does: "say no to it, and release what it engaged",
    how: 'flagback reject DECISION --reason "..."',
  },
  lock: {
    name: "lock",
    role: "operator",
    does: "take a version's weight and keep its payload from having any, without a rollback",
    how: 'flagback lock ALIAS VERSION --reason "..."',
  },
  unlock: {
    name: "unlock",
    role: "lead",
    does: "let a locked version have traffic again",
    how: 'flagback unlock ALIAS VERSION --reason "..." --root-cause "..."',
  },
} as const satisfies Partial<Record<Command["kind"], Instruction>>;

/** Commands that only the brain gives. */
export const BRAINS_COMMANDS = {
  holdRollout: {
    name: "hold",
    does: "hold the weights, because of what a rollback would not cure or people must decide",
  },
  ask: {
    name: "ask",
    does: "ask people whether to roll back, because a guardrail of mode approval was breached",
  },
  endHold: { name: "end of hold", does: "end a hold whose cause is over" },
} as const satisfies Partial<Record<Command["kind"], Omit<Instruction, "role" | "how">>>;

interface Instruction {
  readonly name: string;
  readonly role: Role;
  readonly does: string;
  readonly how: string;
}

export type PeoplesCommand = keyof typeof PEOPLES_COMMANDS;
export type MachineCommand = PeoplesCommand | keyof typeof BRAINS_COMMANDS;

/** What a command does in a state. */
export type MachineCell =
  /** Leads there, where its conditions are met; `needs` says them. Else it is refused, and the refusal lists what is missing. */
  | { readonly kind: "to"; readonly state: MachineState; readonly needs?: string }
  /** Answers that it is so already. */
  | { readonly kind: "unchanged" }
  /** Answers which decision rolled back, and does nothing twice. */
  | { readonly kind: "alreadyRolledBack" }
  | {
      readonly kind: "refused";
      readonly code: ErrorCode;
      /** The command itself lists what is missing. */
      readonly explains?: true;
    };

const UNCHANGED: MachineCell = { kind: "unchanged" };
const NOT_ACTIVE: MachineCell = { kind: "refused", code: "rollout_not_active" };
const IN_PROGRESS: MachineCell = { kind: "refused", code: "rollout_in_progress" };
const GATE_CLOSED: MachineCell = { kind: "refused", code: "gate_closed" };
/** The command itself says what became of the decision that is meant. */
const NOT_OPEN: MachineCell = { kind: "refused", code: "decision_not_open", explains: true };
const NOTHING_ASKED = { approve: NOT_OPEN, reject: NOT_OPEN } as const;
const ASKING = "a first breach, or twice the evidence of the last time";
const ITS_DECISION = "the decision that is open, before its deadline";
const NO_PLAN: MachineCell = { kind: "refused", code: "rollback_plan_missing", explains: true };
const HAS_STABLE: MachineCell = { kind: "refused", code: "already_exists", explains: true };
const START = to(
  "exposing",
  "a rollback plan, a candidate that is not locked, every incident answered for, and the drill that the policy demands",
);
const FORWARD = to("exposing", "a rollback plan and a version that is not locked");

const IDLE = {
  advanceRollout: NOT_ACTIVE,
  pauseRollout: NOT_ACTIVE,
  resumeRollout: NOT_ACTIVE,
  promote: NOT_ACTIVE,
  rollback: NOT_ACTIVE,
  ...NOTHING_ASKED,
  holdRollout: NOT_ACTIVE,
  ask: NOT_ACTIVE,
  endHold: NOT_ACTIVE,
} as const;

/** What every state after a rollback has in common; verification moves between them without a command of people. */
function afterRollback(state: MachineState): Record<MachineCommand, MachineCell> {
  return {
    ...IDLE,
    declareStable: HAS_STABLE,
    startRollout: START,
    rollForward: FORWARD,
    rollback: { kind: "alreadyRolledBack" },
    approve: { kind: "alreadyRolledBack" },
    ...locks(state),
  };
}

export const MACHINE: Readonly<Record<MachineState, Readonly<Record<MachineCommand, MachineCell>>>> = {
  undeclared: {
    ...IDLE,
    declareStable: to("registered", "a registered version that is neither retired nor locked"),
    startRollout: NO_PLAN,
    rollForward: NO_PLAN,
    ...locks("undeclared"),
  },
  registered: {
    ...IDLE,
    declareStable: HAS_STABLE,
    startRollout: START,
    rollForward: FORWARD,
    ...locks("registered"),
  },
  exposing: {
    declareStable: HAS_STABLE,
    startRollout: IN_PROGRESS,
    rollForward: IN_PROGRESS,
    advanceRollout: to("exposing", "a next stage, and an open gate or --bypass-gate"),
    pauseRollout: to("paused"),
    resumeRollout: UNCHANGED,
    promote: to("promoted", "100 % of the traffic"),
    rollback: to("rolled_back"),
    ...NOTHING_ASKED,
    ...locks("exposing"),
    holdRollout: to("held"),
    ask: to("deciding", ASKING),
    endHold: UNCHANGED,
  },
  held: {
    declareStable: HAS_STABLE,
    startRollout: IN_PROGRESS,
    rollForward: IN_PROGRESS,
    advanceRollout: GATE_CLOSED,
    pauseRollout: to("paused_held"),
    resumeRollout: to("exposing"),
    promote: GATE_CLOSED,
    rollback: to("rolled_back"),
    ...NOTHING_ASKED,
    ...locks("held"),
    holdRollout: to("held", "a graver cause; else it changes nothing"),
    ask: to("deciding", ASKING),
    endHold: to("exposing", "the cause of the hold; another one's end changes nothing"),
  },
  deciding: {
    declareStable: HAS_STABLE,
    startRollout: IN_PROGRESS,
    rollForward: IN_PROGRESS,
    advanceRollout: GATE_CLOSED,
    pauseRollout: to("paused_held"),
    resumeRollout: to("exposing"),
    promote: GATE_CLOSED,
    rollback: to("rolled_back"),
    approve: to("rolled_back", ITS_DECISION),
    reject: to("exposing", `${ITS_DECISION}; a graver hold stays`),
    ...locks("deciding"),
    holdRollout: to("deciding", "a graver cause; else it changes nothing"),
    ask: UNCHANGED,
    endHold: UNCHANGED,
  },
  paused: {
    declareStable: HAS_STABLE,
    startRollout: IN_PROGRESS,
    rollForward: IN_PROGRESS,
    advanceRollout: GATE_CLOSED,
    pauseRollout: UNCHANGED,
    resumeRollout: to("exposing"),
    promote: GATE_CLOSED,
    rollback: to("rolled_back"),
    ...NOTHING_ASKED,
    ...locks("paused"),
    holdRollout: to("paused_held"),
    ask: to("paused_deciding", ASKING),
    endHold: UNCHANGED,
  },
  paused_held: {
    declareStable: HAS_STABLE,
    startRollout: IN_PROGRESS,
    rollForward: IN_PROGRESS,
    advanceRollout: GATE_CLOSED,
    pauseRollout: UNCHANGED,
    resumeRollout: to("exposing"),
    promote: GATE_CLOSED,
    rollback: to("rolled_back"),
    ...NOTHING_ASKED,
    ...locks("paused_held"),
    holdRollout: to("paused_held", "a graver cause; else it changes nothing"),
    ask: to("paused_deciding", ASKING),
    endHold: to("paused", "the cause of the hold; another one's end changes nothing"),
  },
  paused_deciding: {
    declareStable: HAS_STABLE,
    startRollout: IN_PROGRESS,
    rollForward: IN_PROGRESS,
    advanceRollout: GATE_CLOSED,
    pauseRollout: UNCHANGED,
    resumeRollout: to("exposing"),
    promote: GATE_CLOSED,
    rollback: to("rolled_back"),
    approve: to("rolled_back", ITS_DECISION),
    reject: to("paused", `${ITS_DECISION}; a graver hold stays`),
    ...locks("paused_deciding"),
    holdRollout: to("paused_deciding", "a graver cause; else it changes nothing"),
    ask: UNCHANGED,
    endHold: UNCHANGED,
  },
  promoted: {
    declareStable: HAS_STABLE,
    startRollout: START,
    rollForward: FORWARD,
    advanceRollout: NOT_ACTIVE,
    pauseRollout: NOT_ACTIVE,
    resumeRollout: UNCHANGED,
    promote: UNCHANGED,
    rollback: to("rolled_back"),
    ...NOTHING_ASKED,
    ...locks("promoted"),
    holdRollout: to("promoted_held"),
    ask: to("promoted_deciding", ASKING),
    endHold: UNCHANGED,
  },
  promoted_held: {
    declareStable: HAS_STABLE,
    startRollout: IN_PROGRESS,
    rollForward: IN_PROGRESS,
    advanceRollout: NOT_ACTIVE,
    pauseRollout: NOT_ACTIVE,
    resumeRollout: to("promoted"),
    promote: UNCHANGED,
    rollback: to("rolled_back"),
    ...NOTHING_ASKED,
    ...locks("promoted_held"),
    holdRollout: to("promoted_held", "a graver cause; else it changes nothing"),
    ask: to("promoted_deciding", ASKING),
    endHold: to("promoted", "the cause of the hold; another one's end changes nothing"),
  },
  promoted_deciding: {
    declareStable: HAS_STABLE,
    startRollout: IN_PROGRESS,
    rollForward: IN_PROGRESS,
    advanceRollout: NOT_ACTIVE,
    pauseRollout: NOT_ACTIVE,
    resumeRollout: to("promoted"),
    promote: UNCHANGED,
    rollback: to("rolled_back"),
    approve: to("rolled_back", ITS_DECISION),
    reject: to("promoted", `${ITS_DECISION}; a graver hold stays`),
    ...locks("promoted_deciding"),
    holdRollout: to("promoted_deciding", "a graver cause; else it changes nothing"),
    ask: UNCHANGED,
    endHold: UNCHANGED,
  },
  rolled_back: afterRollback("rolled_back"),
  recovering: afterRollback("recovering"),
  recovered: afterRollback("recovered"),
  unverified: afterRollback("unverified"),
  not_recovered: afterRollback("not_recovered"),
};

/** What the verification of a rollback can conclude; the first, that every runtime follows it. */
export type Conclusion = "recovering" | "recovered" | "unverified" | "not_recovered";

const FRESH = {
  recovering: null,
  recovered: "recovered",
  unverified: "unverified",
  not_recovered: "not_recovered",
} as const;
const FINAL = { recovering: null, recovered: null, unverified: null, not_recovered: null } as const;

/** Where a conclusion about the last rollback leads; null where it changes nothing any more. A late proof is still one. */
export const VERIFICATION: Readonly<
  Record<
    "rolled_back" | "recovering" | "recovered" | "unverified" | "not_recovered",
    Readonly<Record<Conclusion, MachineState | null>>
  >
> = {
  rolled_back: { ...FRESH, recovering: "recovering" },
  recovering: FRESH,
  unverified: { ...FRESH, unverified: null },
  recovered: FINAL,
  not_recovered: FINAL,
};

export function nameOf(kind: MachineCommand): string {
  return { ...PEOPLES_COMMANDS, ...BRAINS_COMMANDS }[kind].name;
}

function to(state: MachineState, needs?: string): MachineCell {
  return { kind: "to", state, ...(needs === undefined ? {} : { needs }) };
}

/** Locking and unlocking leave the rollout where it stands. */
function locks(state: MachineState): { readonly lock: MachineCell; readonly unlock: MachineCell } {
  return {
    lock: to(state, "a version that neither serves as stable, nor is rolled out, nor is what a rollback returns to"),
    unlock: to(state, "a lock, a reason, and the incident's root cause noted"),
  };
}
