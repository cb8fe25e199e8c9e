/**
 * What is exported as YAML means the documents that it was made of, whatever they hold.
 */
import { type Command, configOf, transition, unnamed, type World } from "@flagback/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Configuration, readConfig } from "../../server/src/config/parse-config.ts";
import { printConfig } from "../../server/src/config/print-config.ts";
import { EMPTY_WORLD } from "../support/empty-world.ts";
import { AT, anyWorld, worldOf } from "./any-world.ts";

test("applying what was exported plans nothing, and the server has nothing that it does not name", () => {
  fc.assert(
    fc.property(anyWorld, (world) => {
      const exported = readBack(world);
      expect(planned(world, exported)).toEqual([]);
      expect(unnamed(world, exported.desired, { blocks: exported.blocks, prefixes: [] })).toEqual([]);
    }),
    { numRuns: 150 },
  );
});

test("on an empty database it makes the same documents again, so that it exports the same", () => {
  fc.assert(
    fc.property(anyWorld, (world) => {
      const made = worldOf([{ kind: "apply", desired: readBack(world).desired, mayChangeTriggers: true }]);
      expect(printConfig(configOf(made))).toBe(printConfig(configOf(quiet(world))));
    }),
    { numRuns: 150 },
  );
});

test("a kill switch that is engaged, a lock and a retired version are history and no configuration", () => {
  const world = worldOf([
    { kind: "putKillSwitch", key: "writes_disabled", failSafe: { engage: true, afterMs: 0 } },
    { kind: "engage", key: "writes_disabled", scope: "*", reason: "x", entryId: "e" },
    register("agent@1"),
    register("agent@2"),
    { kind: "retireVersion", id: "agent@2", reason: "old" },
  ]);
  expect(configOf(world)).toEqual({
    versions: [{ id: "agent@1", alias: "agent", kind: "agent", payload: { prompt: "agent@1" } }],
    aliases: {},
    killSwitches: { writes_disabled: { failSafe: { engage: true, afterMs: 0 } } },
    flags: {},
    triggers: {},
    releases: {},
  });
});

/** Without the weights of rollouts that are under way: those the rollout sets, not the file. */
function quiet(world: World): World {
  const aliases = [...world.aliases].map(([name, alias]) => {
    const isUnderWay = alias.rollout?.state === "exposing" || alias.rollout?.state === "paused";
    const allocation =
      isUnderWay && alias.stable !== null ? [{ version: alias.stable, weight: 100_000 }] : alias.allocation;
    return [name, { ...alias, allocation, rollout: null }] as const;
  });
  return { ...world, aliases: new Map(aliases) };
}

function readBack(world: World): Configuration {
  return readConfig([{ text: printConfig(configOf(world)) }]);
}

function planned(world: World, { desired }: Configuration): unknown {
  const result = transition(world, { kind: "apply", desired }, AT);
  if (result.kind === "refused") return result.refusal;
  return result.kind === "change" ? result.change.plan : [];
}

function register(id: string): Command {
  return {
    kind: "registerVersion",
    version: { id, alias: "agent", kind: "agent", payload: { prompt: id }, labels: {}, notes: "" },
  };
}

test("an empty server exports blocks that are empty", () => {
  expect(printConfig(configOf(EMPTY_WORLD))).toBe(
    "versions: []\naliases: {}\nkillSwitches: {}\nflags: {}\ntriggers: {}\nreleases: {}\n",
  );
});
