import { transition } from "@flagback/core";
import { expect, test } from "vitest";
import { AT, done, refusalOf, scopes, started, withSwitch } from "./support-world.ts";

test("recovery and people hold a switch side by side; releasing a scope leaves the others", () => {
  const world = done(started(), { kind: "rollback", alias: "agent", reason: "bad" });
  const both = done(world, engage("tenant=acme"));
  expect(scopes(both)).toEqual(["agent=agent", "tenant=acme"]);
  const released = done(both, { kind: "release", key: "writes_disabled", scope: "tenant=acme", reason: "over" });
  expect(scopes(released)).toEqual(["agent=agent"]);
  expect(transition(released, { kind: "release", key: "writes_disabled", scope: "*", reason: "?" }, AT).kind).toBe(
    "unchanged",
  );
});

test("an entry with an end is released by the server when it comes", () => {
  const world = done(withSwitch(), { ...engage("*"), until: "2026-01-02T04:00:00.000Z" });
  expect(transition(world, { kind: "expireEntries" }, AT).kind).toBe("unchanged");
  const later = { ...AT, now: "2026-01-02T04:00:00.000Z" };
  const result = transition(world, { kind: "expireEntries" }, later);
  expect(result.kind === "change" && result.change.killSwitches[0]?.engaged).toEqual([]);
});

test("an end in the past is refused", () => {
  const refused = transition(withSwitch(), { ...engage("*"), until: "2026-01-01T00:00:00.000Z" }, AT);
  expect(refusalOf(refused).message).toContain("not in the future");
});

test("stop engages every kill switch everywhere, once", () => {
  const two = done(withSwitch(), {
    kind: "putKillSwitch",
    key: "refunds_disabled",
    failSafe: { engage: true, afterMs: 0 },
  });
  const stopped = done(two, { kind: "stopEverything", reason: "fire", entryId: "e1" });
  expect([...stopped.killSwitches.values()].map((each) => each.engaged.map((entry) => entry.scope))).toEqual([
    ["*"],
    ["*"],
  ]);
  expect(transition(stopped, { kind: "stopEverything", reason: "fire", entryId: "e2" }, AT).kind).toBe("unchanged");
});

test("stop holds where the same person had engaged the switch everywhere for a while", () => {
  const short = done(withSwitch(), { ...engage("*"), until: "2026-01-02T04:00:00.000Z" });
  const stopped = done(short, { kind: "stopEverything", reason: "fire", entryId: "e1" });
  const later = transition(stopped, { kind: "expireEntries" }, { ...AT, now: "2026-01-02T04:00:00.000Z" });
  expect(later.kind === "change" && later.change.killSwitches[0]?.engaged).toMatchObject([{ id: "e1", scope: "*" }]);
});

function engage(scope: string) {
  return { kind: "engage" as const, key: "writes_disabled", scope, reason: "r", entryId: `entry ${scope}` };
}
