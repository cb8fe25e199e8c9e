import { type Command, transition, type World, weightOf, worldAfter } from "@flagback/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AT, changeOf, done, POLICY, refusalOf, register, scopes, withSwitch } from "./support-world.ts";

const ALIASES = ["prompt", "model", "tools"] as const;
const ALL = { kind: "rollbackTogether", aliases: ALIASES, reason: "they don't fit" } as const;
const RELEASE = {
  kind: "putRelease",
  name: "summer",
  versions: { prompt: "prompt@2", model: "model@2", tools: "tools@2" },
  notes: "the new persona",
} as const;

test("several aliases go back in one change: an incident, a lock, a switch entry and an audit row for each, one id for all", () => {
  const world = exposing(...ALIASES);
  const { change } = changeOf(world, ALL);
  const after = worldAfter(world, change);
  for (const name of ALIASES) {
    const alias = after.aliases.get(name);
    expect(weightOf(alias?.allocation ?? [], `${name}@2`)).toBe(0);
    expect(alias?.locks).toMatchObject([{ version: `${name}@2` }]);
    expect(alias?.rollout?.state).toBe("rolled_back");
  }
  expect(scopes(after)).toEqual(ALIASES.map((name) => `agent=${name}`));
  const id = change.coordinated?.id;
  expect(id).toMatch(/^rb_[0-9a-f]{12}$/);
  const incidents = change.stops.map(({ incident }) => incident.id);
  expect(new Set(incidents).size).toBe(3);
  for (const { incident } of change.stops) expect(incident.coordinated).toEqual({ id, incidents });
  expect(change.rows?.map(({ target, audit }) => [target, audit.coordinationId, audit.incident])).toEqual(
    ALIASES.map((name, index) => [`alias:${name}`, id, incidents[index]]),
  );
  expect(change.alerts.map(({ alias }) => alias)).toEqual([...ALIASES]);
  expect(change.coordinated?.aliases.map(({ status }) => status)).toEqual(["done", "done", "done"]);
});

test("where one can't go back, none does, and every reason is named", () => {
  const world = exposing("prompt");
  const refused = refusalOf(transition(world, { ...ALL, aliases: ["prompt", "model", "nobody"] }, AT));
  expect(refused).toMatchObject({
    code: "rollout_not_active",
    message: expect.stringContaining("Nothing was rolled back"),
  });
  expect(refused.problems).toEqual([expect.stringContaining("model"), "There is no alias nobody."]);
});

test("what was rolled back before stays as it was, and a repeat changes nothing and gives the same id", () => {
  const one = done(exposing(...ALIASES), { kind: "rollback", alias: "model", reason: "first" });
  const [earlier] = one.incidents.keys();
  const { change } = changeOf(one, ALL);
  expect(change.coordinated?.aliases.map(({ alias, status }) => [alias, status])).toEqual([
    ["prompt", "done"],
    ["model", "already_rolled_back"],
    ["tools", "done"],
  ]);
  expect(change.coordinated?.aliases[1]?.incident).toBe(earlier);
  expect(change.rows).toHaveLength(2);
  const again = transition(worldAfter(one, change), ALL, AT);
  expect(again).toMatchObject({ kind: "already_rolled_back", coordinated: { id: change.coordinated?.id } });
});

test("an alias that is named twice is rolled back once", () => {
  const { change } = changeOf(exposing("prompt", "model"), { ...ALL, aliases: ["prompt", "model", "prompt"] });
  expect(change.stops).toHaveLength(2);
});

test("a release goes back where its versions are rolled out, and leaves what is not its own", () => {
  let world = done(exposing("prompt", "model"), RELEASE);
  // Another version of the third alias is under way: that rollout is none of the release's business.
  world = done(world, register("tools@3", { tools: "three" }, "tools"));
  world = done(world, { kind: "startRollout", alias: "tools", candidate: "tools@3", reason: "" });
  const { change } = changeOf(world, { kind: "rollbackTogether", release: "summer", reason: "bad" });
  expect(change.coordinated?.aliases.map(({ alias, status }) => [alias, status])).toEqual([
    ["model", "done"],
    ["prompt", "done"],
    ["tools", "not_served"],
  ]);
  expect(worldAfter(world, change).aliases.get("tools")?.rollout?.state).toBe("exposing");
  expect(change.target).toBe("release:summer");
});

test("a release whose version serves without a rollout is refused whole, because nothing could go back there", () => {
  let world = done(exposing("prompt", "model"), RELEASE);
  world = done(world, {
    kind: "putAlias",
    name: "tools",
    allocation: [
      { version: "tools@1", weight: 90_000 },
      { version: "tools@2", weight: 10_000 },
    ],
  });
  const refused = refusalOf(transition(world, { kind: "rollbackTogether", release: "summer", reason: "bad" }, AT));
  expect(refused.problems).toEqual([expect.stringContaining("tools@2 serves on tools, but not by a rollout")]);
});

test("a release that serves nothing has nothing to roll back, and one that nobody named is refused", () => {
  const world = done(exposing(), RELEASE);
  const release = (name: string) => ({ kind: "rollbackTogether", release: name, reason: "r" }) as const;
  expect(transition(world, release("summer"), AT).kind).toBe("unchanged");
  expect(refusalOf(transition(world, release("winter"), AT))).toMatchObject({
    code: "release_not_found",
    hint: expect.stringContaining("summer"),
  });
});

test("a release names versions that are registered for their alias, and the same again changes nothing", () => {
  const world = exposing();
  const wrong = { ...RELEASE, versions: { prompt: "model@2", model: "model@9" } };
  expect(refusalOf(transition(world, wrong, AT))).toMatchObject({
    code: "version_not_found",
    problems: ["Version model@2 is not registered for prompt.", "Version model@9 is not registered for model."],
  });
  const named = done(world, RELEASE);
  expect(transition(named, RELEASE, AT).kind).toBe("unchanged");
  expect(transition(named, { ...RELEASE, notes: "another text" }, AT).kind).toBe("change");
});

test("rolling back together leaves every alias as rolling each back alone does, but for the link", () => {
  fc.assert(
    fc.property(fc.subarray([...ALIASES], { minLength: 1 }), fc.subarray([...ALIASES]), (started, backBefore) => {
      let world = exposing(...started);
      for (const alias of backBefore.filter((name) => started.includes(name))) {
        world = done(world, { kind: "rollback", alias, reason: "r" });
      }
      const together = apply(world, { kind: "rollbackTogether", aliases: started, reason: "r" });
      const alone = started.reduce((before, alias) => apply(before, { kind: "rollback", alias, reason: "r" }), world);
      expect(together.aliases).toEqual(alone.aliases);
      expect(together.killSwitches).toEqual(alone.killSwitches);
      expect(together.decisions).toEqual(alone.decisions);
      const unlinked = [...together.incidents.values()].map(({ coordinated: _link, ...incident }) => incident);
      expect(unlinked).toEqual([...alone.incidents.values()]);
    }),
  );
});

/** Three aliases with a stable version and a second one each; rollouts are under way on those that are named. */
function exposing(...started: readonly string[]): World {
  let world = withSwitch();
  for (const name of ALIASES) {
    world = done(world, register(`${name}@1`, { [name]: "one" }, name));
    world = done(world, register(`${name}@2`, { [name]: "two" }, name));
    world = done(world, { kind: "putAlias", name, policy: POLICY });
    world = done(world, { kind: "declareStable", alias: name, version: `${name}@1`, reason: "serves" });
  }
  return started.reduce(
    (before, alias) => done(before, { kind: "startRollout", alias, candidate: `${alias}@2`, reason: "" }),
    world,
  );
}

/** The world after a command that may change nothing. */
function apply(world: World, command: Command): World {
  const result = transition(world, command, AT);
  return result.kind === "change" ? worldAfter(world, result.change) : world;
}
