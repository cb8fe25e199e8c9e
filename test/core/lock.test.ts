import { transition, weightOf } from "@flagback/core";
import { expect, test } from "vitest";
import { AT, done, ready, refusalOf, register, start, started } from "./support-world.ts";

const LOCK = { kind: "lock", alias: "agent", version: "agent@2", reason: "leaks prompts" } as const;

test("a locked version loses its weight to stable and gets none under any id, until it is unlocked", () => {
  const weighed = done(ready(), {
    kind: "putAlias",
    name: "agent",
    allocation: [
      { version: "agent@1", weight: 70_000 },
      { version: "agent@2", weight: 30_000 },
    ],
  });
  const twin = done(done(weighed, LOCK), register("agent@2-again", { prompt: "two" }));
  expect(weightOf(twin.aliases.get("agent")?.allocation ?? [], "agent@1")).toBe(100_000);
  expect(refusalOf(start(twin, "agent@2-again")).code).toBe("version_locked");
  expect(transition(twin, LOCK, AT).kind).toBe("unchanged");
  // No incident locked it, so no root cause is asked for.
  const unlocked = done(twin, { kind: "unlock", alias: "agent", version: "agent@2", reason: "it was another one" });
  expect(start(unlocked, "agent@2-again").kind).toBe("change");
});

test("what is rolled out is rolled back instead, and what is needed can't be locked", () => {
  const refused = refusalOf(transition(started(), LOCK, AT));
  expect(refused).toMatchObject({ code: "version_in_use", hint: expect.stringContaining("flagback rollback agent") });
  const target = refusalOf(transition(started(), { ...LOCK, version: "agent@1" }, AT));
  expect(target).toMatchObject({ code: "version_in_use", message: expect.stringContaining("the stable version") });
  expect(refusalOf(transition(ready(), { ...LOCK, version: "agent@9" }, AT)).code).toBe("version_not_found");
});

test("what a rollback of a promoted version returns to can't be locked", () => {
  const advance = { kind: "advanceRollout", alias: "agent", reason: "r", isHealthy: true, bypassGate: true } as const;
  const promoted = done(done(started(), advance), { kind: "promote", alias: "agent", reason: "good" });
  const refused = refusalOf(transition(promoted, { ...LOCK, version: "agent@1" }, AT));
  expect(refused.message).toContain("what a rollback returns to");
  // Nor the version that is the stable one now, and can still be rolled back.
  expect(refusalOf(transition(promoted, LOCK, AT)).hint).toContain("flagback rollback agent");
});
