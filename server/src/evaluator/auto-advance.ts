/**
 * `advance: auto`: what the brain commands where the gate stands open. All that it asks is stored (the stage's start, the
 * evidence, holds), so a restart neither forgets a soak nor begins it anew.
 */
import { type Command, type DrillPass, gateOf, type Ledger, type World } from "@flagback/core";
import { type Alias, durationMs, FlagbackError } from "@flagback/schemas";
import { gateFacts } from "./gate-facts.ts";

/** Whether time no longer keeps the alias's rollout from going up by itself. */
export function hasSoaked({ rollout }: Alias, nowMs: number): boolean {
  if (rollout?.state !== "exposing" || rollout.policy.advance !== "auto" || rollout.hold) return false;
  const stage = rollout.policy.stages.find(({ name }) => name === rollout.stage);
  return nowMs - Date.parse(rollout.stageStartedAt) >= durationMs(stage?.soak ?? "0s");
}

/** The step that the brain takes by itself, if the gate is open. It names what it was judged on: somebody may be faster. */
export function automaticStep(
  world: World,
  alias: Alias,
  ledger: Ledger | undefined,
  drills: readonly DrillPass[],
  nowMs: number,
): Command | undefined {
  const { rollout } = alias;
  if (!rollout || !hasSoaked(alias, nowMs)) return undefined;
  const facts = gateFacts(ledger, drills);
  const gate = gateOf(world, alias, rollout, facts, new Date(nowMs).toISOString());
  if (!gate.isOpen || !gate.step) return undefined;
  const { rolloutNumber, stage } = rollout;
  const reason = `advance: auto; the gate is open: ${gate.conditions.map(({ why }) => why).join("; ")}`;
  switch (gate.step.kind) {
    case "advance":
      return {
        kind: "advanceRollout",
        alias: alias.name,
        rolloutNumber,
        fromStage: stage,
        reason,
        bypassGate: false,
        ...facts,
      };
    case "promote":
      return { kind: "promote", alias: alias.name, rolloutNumber, reason };
  }
}

/** A refusal that means that somebody paused, held or ended the rollout in the meantime. */
export function isOvertaken(error: unknown): boolean {
  return error instanceof FlagbackError && (error.code === "gate_closed" || error.code === "rollout_not_active");
}
