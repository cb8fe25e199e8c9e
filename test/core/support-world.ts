/** Worlds of one alias, and commands given in them, for tests of transitions. */
import { createHash } from "node:crypto";
import {
  type Change,
  type Circumstances,
  type Command,
  type Transition,
  transition,
  type World,
  worldAfter,
} from "@flagback/core";
import { Policy, type Refusal } from "@flagback/schemas";
import { JsonSchemaChecker } from "../../server/src/engine/json-schema-checker.ts";
import { EMPTY_WORLD } from "../support/empty-world.ts";

export const AT: Circumstances = {
  actor: { kind: "token", name: "ada", id: "t1" },
  now: "2026-01-02T03:04:05.678Z",
  digestOf: (value) => createHash("sha256").update(JSON.stringify(value)).digest("hex"),
  payloads: new JsonSchemaChecker(),
};

export const POLICY = Policy.parse({
  guardrails: [{ metric: "error_rate", max: 0.05 }],
  stages: [
    { name: "canary", percent: 1 },
    { name: "validation", percent: 5 },
    { name: "full", percent: 100 },
  ],
});

/** With the kill switch that a server makes at its first start. */
export function withSwitch(): World {
  return done(EMPTY_WORLD, { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } });
}

/** `agent` with `agent@1` stable and `agent@2` registered. */
export function ready(policy = POLICY): World {
  let world = done(withSwitch(), register("agent@1", { prompt: "one" }));
  world = done(world, register("agent@2", { prompt: "two" }));
  world = done(world, { kind: "putAlias", name: "agent", policy });
  return done(world, { kind: "declareStable", alias: "agent", version: "agent@1", reason: "serves" });
}

/** `agent@2` at 5 %. */
export function started(): World {
  return done(ready(), { kind: "startRollout", alias: "agent", candidate: "agent@2", stage: "validation", reason: "" });
}

/** `agent@2` at 100 %. */
export function atFull(): World {
  const policy = { ...POLICY, stages: [{ name: "full", percent: 100, soak: "0s" }] };
  return done(ready(policy), { kind: "startRollout", alias: "agent", candidate: "agent@2", reason: "" });
}

/** Every open incident is released by a person, so that the next rollout may start. */
export function answered(world: World): World {
  const open = [...world.incidents.values()].filter(({ state }) => state !== "recovered" && state !== "closed");
  return open.reduce(
    (before, { id }) => done(before, { kind: "releaseIncident", incident: id, reason: "looked at it" }),
    world,
  );
}

export function start(world: World, candidate = "agent@2"): Transition {
  return transition(world, { kind: "startRollout", alias: "agent", candidate, reason: "" }, AT);
}

export function advance(isHealthy: boolean) {
  return { kind: "advanceRollout" as const, alias: "agent", reason: "on", isHealthy, bypassGate: false };
}

export function register(id: string, payload: Record<string, string>, alias = "agent"): Command {
  return { kind: "registerVersion", version: { id, alias, kind: "prompt", payload, labels: {}, notes: "" } };
}

/** @throws Error where the command changes nothing. */
export function changeOf(world: World, command: Command, at = AT): { readonly change: Change } {
  const result = transition(world, command, at);
  if (result.kind !== "change") throw new Error(`${command.kind} was ${JSON.stringify(result)}`);
  return result;
}

/** The world after a command. @throws Error where it changes nothing. */
export function done(world: World, command: Command, at = AT): World {
  return worldAfter(world, changeOf(world, command, at).change);
}

/** @throws Error where it was not refused. */
export function refusalOf(result: Transition): Refusal {
  if (result.kind !== "refused") throw new Error(`not refused: ${result.kind}`);
  return result.refusal;
}

/** Scopes that `writes_disabled` is engaged for. */
export function scopes(world: World): string[] {
  return (world.killSwitches.get("writes_disabled")?.engaged ?? []).map((entry) => entry.scope);
}
