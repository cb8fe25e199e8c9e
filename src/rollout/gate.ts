/**
 * The gate: what is asked before a rollout goes up, each condition answered with yes or no and why. Going up needs time, proof
 * and nobody's objection; going down waits for nobody (DESIGN 7).
 */
import { type Alias, durationMs, type Policy, type Rollout, type Stage, TOTAL_WEIGHT } from "@flagback/schemas";
import { weightOf } from "../allocation/index.ts";
import { type DrillPass, drillFinding } from "./drill-requirement.ts";
import { isUnsettled } from "./incidents.ts";
import type { World } from "./world.ts";

export type GateConditionName =
  | "rollback_plan"
  | "rollback_target"
  | "guardrails"
  | "soak"
  | "not_paused"
  | "not_held"
  | "no_lock"
  | "no_incident"
  | "drill";

export interface GateCondition {
  readonly condition: GateConditionName;
  readonly isMet: boolean;
  /** Why it is met or not, in a clause with the values. */
  readonly why: string;
}

/** Where the gate leads: the next stage, or the promotion after the last one. */
export type GateStep = { readonly kind: "advance"; readonly stage: Stage } | { readonly kind: "promote" };

export interface Gate {
  /** Null where the last stage has less than all the traffic: nothing follows it. */
  readonly step: GateStep | null;
  readonly isOpen: boolean;
  readonly conditions: readonly GateCondition[];
}

/** What the gate looks at beside the documents. */
export interface GateFacts {
  /** Whether the ledger proves every guardrail that can decide healthy (core's `isHealthy`). */
  readonly isHealthy: boolean;
  /** Each guardrail that is not, in a clause. */
  readonly unproven?: readonly string[];
  readonly drills: readonly DrillPass[];
}

export function gateOf(world: World, alias: Alias, rollout: Rollout, facts: GateFacts, now: string): Gate {
  const step = stepOf(alias, rollout);
  const conditions = [
    plan(world, alias, rollout),
    target(world, rollout),
    guardrails(facts),
    soak(rollout, now),
    pause(rollout),
    hold(rollout),
    lock(alias, rollout),
    incident(world, alias),
    drill(world, rollout, alias, facts, now),
  ];
  return { step, isOpen: step !== null && conditions.every(({ isMet }) => isMet), conditions };
}

/**
 * What of it is asked before the first stage as well. The way back is asked by the plan itself; nothing has soaked or been
 * proven yet. The drill is only asked where it is known of which pair.
 */
export function conditionsOfStart(
  world: World,
  alias: Alias,
  candidate: string | undefined,
  policy: Policy | null,
  drills: readonly DrillPass[],
  now: string,
): GateCondition[] {
  const version = world.versions.get(candidate ?? "");
  const answered = incident(world, alias);
  if (!version || alias.stable === null || policy === null) return [answered];
  const planned = { candidateDigest: version.digest, target: alias.stable, policy };
  return [answered, drill(world, planned, alias, { drills }, now)];
}

/** What speaks against going up, each in a clause. */
export function objectionsOf({ conditions }: Gate): string[] {
  return conditions.filter(({ isMet }) => !isMet).map(({ why }) => why);
}

function stepOf(alias: Alias, rollout: Rollout): GateStep | null {
  const { stages } = rollout.policy;
  const next = stages[stages.findIndex((stage) => stage.name === rollout.stage) + 1];
  if (next) return { kind: "advance", stage: next };
  return weightOf(alias.allocation, rollout.candidate) === TOTAL_WEIGHT ? { kind: "promote" } : null;
}

function plan(world: World, alias: Alias, rollout: Rollout): GateCondition {
  const { engage, revoke } = rollout.policy.onBreach;
  const missing = engage.filter((key) => !world.killSwitches.has(key));
  const deciding = rollout.policy.guardrails.filter((guardrail) => guardrail.mode !== "observe");
  if (deciding.length === 0) {
    return { condition: "rollback_plan", isMet: false, why: "no guardrail of its policy can decide" };
  }
  if (missing.length > 0) {
    return { condition: "rollback_plan", isMet: false, why: `a rollback engages ${missing.join(", ")}, which is gone` };
  }
  const switches = engage.length > 0 ? `engages ${engage.join(", ")}` : "engages nothing";
  return {
    condition: "rollback_plan",
    isMet: true,
    why: `a rollback of ${alias.name} returns to ${rollout.target}, ${switches} and revokes with ${revoke}`,
  };
}

function target(world: World, rollout: Rollout): GateCondition {
  const version = world.versions.get(rollout.target);
  const isMet = version !== undefined && version.retiredAt === undefined;
  const why = `the rollback target ${rollout.target} is ${isMet ? "registered and not retired" : "not available"}`;
  return { condition: "rollback_target", isMet, why };
}

function guardrails({ isHealthy, unproven = [] }: GateFacts): GateCondition {
  const details = unproven.length > 0 ? ` (${unproven.join("; ")})` : "";
  const why = isHealthy ? "every guardrail is proven healthy" : `its guardrails are not proven healthy yet${details}`;
  return { condition: "guardrails", isMet: isHealthy, why };
}

function soak(rollout: Rollout, now: string): GateCondition {
  const stage = rollout.policy.stages.find(({ name }) => name === rollout.stage);
  const soakedMs = Date.parse(now) - Date.parse(rollout.stageStartedAt);
  if (!stage) return { condition: "soak", isMet: true, why: `stage ${rollout.stage} asks for no soak` };
  const passed = `${Math.floor(soakedMs / 1_000)} s have passed`;
  const isMet = soakedMs >= durationMs(stage.soak);
  return { condition: "soak", isMet, why: `stage ${stage.name} soaks for ${stage.soak}, and ${passed}` };
}

function pause({ state }: Rollout): GateCondition {
  const isMet = state !== "paused";
  return { condition: "not_paused", isMet, why: isMet ? "nobody paused it" : "the rollout is paused" };
}

function hold({ hold: held }: Rollout): GateCondition {
  if (!held) return { condition: "not_held", isMet: true, why: "nothing holds it" };
  return { condition: "not_held", isMet: false, why: `the rollout is held (${held.cause}): ${held.summary}` };
}

function lock(alias: Alias, rollout: Rollout): GateCondition {
  const found = alias.locks.find(({ digest }) => digest === rollout.candidateDigest);
  const why = found ? `${rollout.candidate} is locked: ${found.reason}` : `${rollout.candidate} is not locked`;
  return { condition: "no_lock", isMet: !found, why };
}

function incident(world: World, { name }: Alias): GateCondition {
  const open = [...world.incidents.values()].filter((each) => each.alias === name && isUnsettled(each));
  const why =
    open.length === 0
      ? `every incident of ${name} is answered for`
      : open.map(({ id, state }) => `incident ${id} is ${state.replaceAll("_", " ")}`).join(", ");
  return { condition: "no_incident", isMet: open.length === 0, why };
}

function drill(
  world: World,
  rollout: Pick<Rollout, "candidateDigest" | "target" | "policy">,
  alias: Alias,
  facts: Pick<GateFacts, "drills">,
  now: string,
): GateCondition {
  const targetDigest = world.versions.get(rollout.target)?.digest ?? "";
  const pair = { alias: alias.name, candidateDigest: rollout.candidateDigest, targetDigest };
  return { condition: "drill", ...drillFinding(rollout.policy.requireDrill, facts.drills, pair, now) };
}
