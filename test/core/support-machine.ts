/**
 * Worlds in each state of the rollout machine, and each command as somebody gives it, for tests of its rules.
 */
import {
  type Change,
  type Circumstances,
  type Command,
  type CommandOf,
  type Conclusion,
  MACHINE,
  type MachineCommand,
  type MachineState,
  stateOf,
  type Transition,
  transition,
  type World,
  worldAfter,
} from "@flagback/core";
import { Policy, type PolicyInput } from "@flagback/schemas";
import { EMPTY_WORLD } from "../support/empty-world.ts";
import { AT } from "./support-world.ts";

export { AT };
export const NOW = AT.now;
export const STATES = Object.keys(MACHINE) as MachineState[];
export const COMMANDS = Object.keys(MACHINE.registered) as MachineCommand[];

/** Each command as somebody gives it who has everything that its cell needs. */
export const COMMAND: Record<MachineCommand, Command> = {
  declareStable: { kind: "declareStable", alias: "agent", version: "agent@3", reason: "r" },
  startRollout: { kind: "startRollout", alias: "agent", candidate: "agent@3", reason: "r" },
  advanceRollout: { kind: "advanceRollout", alias: "agent", reason: "r", isHealthy: true, bypassGate: false },
  rollForward: { kind: "rollForward", alias: "agent", version: "agent@3", reason: "r" },
  pauseRollout: { kind: "pauseRollout", alias: "agent", reason: "r" },
  resumeRollout: { kind: "resumeRollout", alias: "agent", reason: "r" },
  promote: { kind: "promote", alias: "agent", reason: "r" },
  rollback: { kind: "rollback", alias: "agent", reason: "r" },
  ask: asking(),
  approve: { kind: "approve", alias: "agent", decision: decisionOf(1), reason: "r" },
  reject: { kind: "reject", alias: "agent", decision: decisionOf(1), reason: "r" },
  lock: { kind: "lock", alias: "agent", version: "agent@3", reason: "r" },
  unlock: { kind: "unlock", alias: "agent", version: "agent@bad", reason: "r", rootCause: "c" },
  holdRollout: hold("shared_cause"),
  endHold: { kind: "endHold", alias: "agent", cause: "no_data", reason: "r" },
};

/** The shortest way to each state, from an alias with a stable version, a candidate and a locked version. */
export const WAY: Record<MachineState, () => World> = {
  undeclared: () => world(),
  registered: () => declared(),
  exposing: () => exposing(),
  held: () => carried(exposing(), hold("no_data")),
  deciding: () => carried(exposing(), asking()),
  paused: () => carried(exposing(), COMMAND.pauseRollout),
  paused_held: () => carried(carried(exposing(), hold("no_data")), COMMAND.pauseRollout),
  paused_deciding: () => carried(carried(exposing(), COMMAND.pauseRollout), asking()),
  promoted: () => promoted(),
  promoted_held: () => carried(promoted(), hold("no_data")),
  promoted_deciding: () => carried(promoted(), asking()),
  rolled_back: () => carried(exposing(), COMMAND.rollback),
  recovering: () => concluded("recovering"),
  recovered: () => concluded("recovered"),
  unverified: () => concluded("unverified"),
  not_recovered: () => concluded("not_recovered"),
};

function world(changed: Partial<PolicyInput> = {}): World {
  let empty = EMPTY_WORLD;
  empty = carried(empty, { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } });
  for (const id of ["agent@1", "agent@2", "agent@3", "agent@bad"]) {
    const version = { id, alias: "agent", kind: "prompt", payload: { id }, labels: {}, notes: "" } as const;
    empty = carried(empty, { kind: "registerVersion", version });
  }
  const stages = [
    { name: "canary", percent: 5 },
    { name: "full", percent: 100 },
  ];
  const policy = Policy.parse({ guardrails: [{ metric: "error_rate", max: 0.05 }], stages, ...changed });
  empty = carried(empty, { kind: "putAlias", name: "agent", policy });
  const alias = empty.aliases.get("agent");
  const digest = empty.versions.get("agent@bad")?.digest;
  if (!alias || !digest) throw new Error("the alias is gone");
  const locks = [{ digest, version: "agent@bad", reason: "earlier", at: NOW, by: "ada" }];
  return { ...empty, aliases: new Map([["agent", { ...alias, locks }]]) };
}

function declared(policy: Partial<PolicyInput> = {}): World {
  return carried(world(policy), { kind: "declareStable", alias: "agent", version: "agent@1", reason: "r" });
}

export function exposing(policy: Partial<PolicyInput> = {}): World {
  return carried(declared(policy), { kind: "startRollout", alias: "agent", candidate: "agent@2", reason: "r" });
}

function promoted(): World {
  return carried(carried(exposing(), COMMAND.advanceRollout), COMMAND.promote);
}

/** A rollback whose verification has come this far. */
function concluded(as: Conclusion): World {
  const back = carried(exposing(), COMMAND.rollback);
  return carried(back, conclusion(back, as));
}

/** What the verification of the world's rollback concludes. */
export function conclusion(of: World, as: Conclusion): Command {
  const [incident = ""] = of.incidents.keys();
  if (as === "recovering") return { kind: "convergeIncident", incident, convergeMs: 5 };
  return { kind: "settleIncident", incident, as, because: "a test says so", recovery: { runs: 0, guardrails: [] } };
}

export function hold(cause: "no_data" | "shared_cause" | "sample_ratio"): Command {
  return { kind: "holdRollout", alias: "agent", cause, summary: "Look.", evidence: [], engage: false };
}

/** A breach that people are asked about, with `logE` of evidence. */
export function asking(logE = 5, rolloutNumber?: number): CommandOf<"ask"> {
  const guardrail = {
    guardrail: "error_rate",
    kind: "error_rate",
    mode: "approval",
    share: 1,
    threshold: 4.6,
  } as const;
  return {
    kind: "ask",
    alias: "agent",
    rolloutNumber,
    finding: {
      reason: "sla_breach",
      attribution: "candidate",
      evidence: [{ ...guardrail, n: 10, k: 10, rate: 1, p0: 0.05, logE }],
      lastRunIds: ["run-1"],
      input: { judged: "on this" },
    },
    leading: "error_rate",
    summary: "10 of 10 runs failed.",
    engage: false,
  };
}

export function decisionOf(rolloutNumber: number): string {
  return AT.digestOf(["agent", AT.digestOf({ id: "agent@2" }), rolloutNumber, "stop"]);
}

export function machineState(of: World, now = NOW): MachineState {
  const alias = of.aliases.get("agent");
  if (!alias) throw new Error("the alias is gone");
  return stateOf(alias, now);
}

export function next(before: World, result: Transition): World {
  if (result.kind !== "change") throw new Error(JSON.stringify(result));
  return worldAfter(before, result.change satisfies Change);
}

export function carried(before: World, command: Command, at: Circumstances = AT): World {
  return next(before, transition(before, command, at));
}

export function refusalOf(result: Transition) {
  if (result.kind !== "refused") throw new Error(`not refused: ${result.kind}`);
  return result.refusal;
}
