/** The gate before a rollout's next stage: each condition with yes or no, and why. */
import { gateOf, isUnderWay, possibilities, stateOf } from "@flagback/core";
import { type Alias, FlagbackError, type GateAnswer } from "@flagback/schemas";
import { gateFacts } from "../../evaluator/gate-facts.ts";
import type { ServerContext } from "../context.ts";

/** @throws FlagbackError `rollout_not_active` where no rollout is under way */
export function gateAnswer(context: ServerContext, alias: Alias): GateAnswer {
  const { rollout, rolloutNumber, name } = alias;
  const now = new Date(context.now()).toISOString();
  const state = stateOf(alias, now);
  const possible = possibilities(alias, state);
  if (!rollout || !isUnderWay(alias)) {
    throw new FlagbackError({
      code: "rollout_not_active",
      message: `No rollout is under way on ${name}, so no gate is before it.`,
      hint: `Start one with flagback rollout start ${name}.`,
      state,
      possible,
    });
  }
  const ledger = context.book.ledgerOf({ alias: name, rolloutNumber });
  const { step, isOpen, conditions } = gateOf(
    context.engine.world,
    alias,
    rollout,
    gateFacts(ledger, context.drills.passes),
    now,
  );
  return {
    alias: name,
    candidate: rollout.candidate,
    state,
    stage: rollout.stage,
    next: step === null ? null : step.kind === "promote" ? "promote" : step.stage.name,
    advance: rollout.policy.advance,
    isOpen,
    conditions: [...conditions],
    possible: [...possible],
  };
}
