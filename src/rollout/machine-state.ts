/**
 * Reads off an alias where its rollout stands in the machine, and what people can do there.
 */
import { type Alias, type Possibility, type Rollout, SHORT_ID_LENGTH } from "@flagback/schemas";
import { MACHINE, type MachineState, PEOPLES_COMMANDS, type PeoplesCommand } from "./machine.ts";
import { canRollBack } from "./under-way.ts";

/** In which state the alias is. A promotion is final when its rollback window is over and nothing holds it any more. */
export function stateOf(alias: Alias, now: string): MachineState {
  const { rollout, stable } = alias;
  if (stable === null) return "undeclared";
  if (!rollout) return "registered";
  switch (rollout.state) {
    case "exposing":
      return kept(rollout, "exposing", "held", "deciding");
    case "paused":
      return kept(rollout, "paused", "paused_held", "paused_deciding");
    case "promoted":
      return canRollBack(alias, now) ? kept(rollout, "promoted", "promoted_held", "promoted_deciding") : "registered";
    case "rolled_back":
    case "recovering":
    case "recovered":
    case "unverified":
    case "not_recovered":
      return rollout.state;
  }
}

/** The state by what keeps the rollout where it is: nothing, a hold, or a decision that people are asked for. */
function kept(rollout: Rollout, free: MachineState, held: MachineState, deciding: MachineState): MachineState {
  if (rollout.openDecision !== undefined) return deciding;
  return rollout.hold === undefined ? free : held;
}

/** What people can do in a state that changes something. Unlocking only counts where something is locked. */
export function possibilities(alias: Alias, state: MachineState): Possibility[] {
  return (Object.keys(PEOPLES_COMMANDS) as PeoplesCommand[]).flatMap((kind) => {
    const cell = MACHINE[state][kind];
    // A lock leads nowhere, and is not what somebody looks for who was refused.
    if (cell.kind !== "to" || kind === "lock" || (kind === "unlock" && alias.locks.length === 0)) return [];
    const { name, role, how } = PEOPLES_COMMANDS[kind];
    const decision = alias.rollout?.openDecision?.slice(0, SHORT_ID_LENGTH) ?? "DECISION";
    return [
      {
        command: name,
        role,
        leadsTo: leadsTo(alias, state, kind, cell.state),
        how: how.replaceAll("ALIAS", alias.name).replaceAll("DECISION", decision),
      },
    ];
  });
}

/** A rejection ends the hold for the decision, and no graver one. */
function leadsTo({ rollout }: Alias, state: MachineState, kind: PeoplesCommand, to: MachineState): MachineState {
  if (kind !== "reject" || rollout?.hold?.cause === "approval") return to;
  return state === "deciding" ? "held" : state === "paused_deciding" ? "paused_held" : "promoted_held";
}
