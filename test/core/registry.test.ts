import { transition, visibleChange, worldAfter } from "@flagback/core";
import { expect, test } from "vitest";
import { AT, changeOf, done, ready, refusalOf, register, withSwitch } from "./support-world.ts";

test("versions registered without a payload do not share a digest", () => {
  const world = done(done(withSwitch(), register("agent@1", {})), register("agent@2", {}));
  expect(world.versions.get("agent@1")?.digest).not.toBe(world.versions.get("agent@2")?.digest);
});

test("a version is immutable: the same payload again is a no-op, another one is refused", () => {
  const world = ready();
  expect(transition(world, register("agent@2", { prompt: "two" }), AT).kind).toBe("unchanged");
  expect(refusalOf(transition(world, register("agent@2", { prompt: "other" }), AT)).code).toBe(
    "version_digest_mismatch",
  );
});

test("the stable version can't be retired", () => {
  const refused = transition(ready(), { kind: "retireVersion", id: "agent@1", reason: "tidy" }, AT);
  expect(refusalOf(refused).code).toBe("version_in_use");
});

test("a second stable version is refused: it comes by a rollout", () => {
  const refused = transition(ready(), { kind: "declareStable", alias: "agent", version: "agent@2", reason: "now" }, AT);
  expect(refusalOf(refused).code).toBe("already_exists");
});

test("weights that don't sum to 100 % are refused with their sum", () => {
  const refused = transition(
    ready(),
    { kind: "putAlias", name: "agent", allocation: [{ version: "agent@1", weight: 90_000 }] },
    AT,
  );
  expect(refusalOf(refused)).toMatchObject({ code: "weights_do_not_sum", message: expect.stringContaining("90 %") });
});

test("an alias, a flag and a kill switch never share a key", () => {
  const flag = transition(
    ready(),
    { kind: "putFlag", key: "agent", definition: { state: "ENABLED", variants: { on: true } } },
    AT,
  );
  expect(refusalOf(flag).code).toBe("already_exists");
  expect(refusalOf(transition(withSwitch(), { kind: "putAlias", name: "writes_disabled" }, AT)).code).toBe(
    "already_exists",
  );
});

test("a change that runtimes don't see takes no revision", () => {
  const world = ready();
  const { change } = changeOf(world, register("agent@3", { prompt: "three" }));
  expect(visibleChange(world, worldAfter(world, change), change)).toEqual({ put: [], deleted: [] });
});
