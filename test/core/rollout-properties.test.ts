import { type Command, canRollBack, runtimeDocuments, transition, type World, worldAfter } from "@flagback/core";
import { TOTAL_WEIGHT } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AT, done, POLICY, ready, register } from "./support-world.ts";

test("no sequence of commands gives weight to a locked version, leaves a sum other than 100 %, or a rollout without a target", () => {
  const version = fc.constantFrom("agent@1", "agent@2", "agent@3", "agent@4");
  const command: fc.Arbitrary<Command> = fc.oneof(
    version.map((id): Command => ({ kind: "startRollout", alias: "agent", candidate: id, reason: "" })),
    version.map(
      (id): Command => ({ kind: "startRollout", alias: "agent", candidate: id, stage: "validation", reason: "" }),
    ),
    fc.constant<Command>({ kind: "rollback", alias: "agent", reason: "r" }),
    fc.tuple(version, fc.constantFrom(undefined, 25, 100)).map(
      ([id, percent]): Command => ({
        kind: "rollForward",
        alias: "agent",
        version: id,
        reason: "r",
        ...(percent && { percent }),
      }),
    ),
    version.map((id): Command => ({ kind: "lock", alias: "agent", version: id, reason: "r" })),
    fc.constant<Command>({ kind: "releaseIncident", incident: LAST_INCIDENT, reason: "r" }),
    fc.constantFrom<Command>(
      { kind: "pauseRollout", alias: "agent", reason: "r" },
      { kind: "resumeRollout", alias: "agent", reason: "r" },
      { kind: "promote", alias: "agent", reason: "r" },
      { kind: "advanceRollout", alias: "agent", reason: "r", isHealthy: true, bypassGate: false },
      { kind: "advanceRollout", alias: "agent", reason: "r", isHealthy: false, bypassGate: true },
      { kind: "holdRollout", alias: "agent", cause: "no_data", summary: "", evidence: [], engage: true },
      { kind: "holdRollout", alias: "agent", cause: "shared_cause", summary: "", evidence: [], engage: true },
      { kind: "endHold", alias: "agent", cause: "no_data", reason: "r" },
    ),
    fc.constantFrom<Command>(
      ...[POLICY, { ...POLICY, onWithdraw: "finish" as const }].map(
        (policy): Command => ({ kind: "putAlias", name: "agent", policy }),
      ),
    ),
    version.map((id): Command => ({ kind: "addCandidates", alias: "agent", versions: [id] })),
    version.map((id): Command => register(`${id}-twin`, { prompt: id === "agent@1" ? "one" : "two" })),
    version.map(
      (id): Command => ({
        kind: "apply",
        desired: {
          versions: [],
          killSwitches: new Map(),
          flags: new Map(),
          releases: new Map(),
          triggers: new Map(),
          aliases: [{ name: "agent", stable: id, candidates: [] }],
        },
      }),
    ),
    version.map((id): Command => ({ kind: "startRollout", alias: "agent", candidate: id, stage: "full", reason: "" })),
    version.map((id): Command => ({ kind: "unlock", alias: "agent", version: id, reason: "r", rootCause: "c" })),
    version.map((id): Command => ({ kind: "retireVersion", id, reason: "r" })),
    version.map((id): Command => ({ kind: "declareStable", alias: "agent", version: id, reason: "r" })),
    fc.tuple(version, fc.nat(TOTAL_WEIGHT)).map(
      ([id, weight]): Command => ({
        kind: "putAlias",
        name: "agent",
        allocation: [
          { version: id, weight },
          { version: "agent@1", weight: TOTAL_WEIGHT - weight },
        ],
      }),
    ),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(command, fc.constantFrom(0, 0, 0, 8)), { maxLength: 30 }), (commands) => {
      let world = done(
        done(ready(), register("agent@3", { prompt: "three" })),
        // The payload of agent@2 under another id.
        register("agent@4", { prompt: "two" }),
      );
      let nowMs = Date.parse(AT.now);
      for (const [each, days] of commands) {
        // Now and then a rollback window passes.
        nowMs += days * 86_400_000;
        const now = new Date(nowMs).toISOString();
        const result = transition(world, meant(each, world), { ...AT, now });
        if (result.kind === "change") world = worldAfter(world, result.change);
        checkInvariants(world, now);
      }
    }),
    { numRuns: 300 },
  );
});

/** Stands for the newest incident, whose id is not known before. */
const LAST_INCIDENT = "the last one";

function meant(command: Command, world: World): Command {
  if (command.kind !== "releaseIncident") return command;
  return { ...command, incident: [...world.incidents.keys()].at(-1) ?? LAST_INCIDENT };
}

function checkInvariants(world: World, now: string): void {
  const alias = world.aliases.get("agent");
  if (!alias) throw new Error("the alias is gone");
  expect(alias.allocation.reduce((sum, slot) => sum + slot.weight, 0)).toBe(TOTAL_WEIGHT);
  const locked = new Set(alias.locks.map((lock) => lock.digest));
  for (const slot of alias.allocation) expect(locked.has(world.versions.get(slot.version)?.digest ?? "")).toBe(false);
  if (alias.stable) expect(locked.has(world.versions.get(alias.stable)?.digest ?? "")).toBe(false);
  const target = alias.rollout && world.versions.get(alias.rollout.target);
  if (canRollBack(alias, now)) {
    // The way back is there, and leads to what is not locked.
    expect(target).toBeDefined();
    expect(target?.retiredAt).toBeUndefined();
    expect(locked.has(target?.digest ?? "")).toBe(false);
  } else if (alias.stable) expect(world.versions.get(alias.stable)?.retiredAt).toBeUndefined();
  // Runtimes are sent no payload of a version that they must not serve.
  for (const document of runtimeDocuments(world)) {
    if (document.kind !== "alias") continue;
    for (const { digest } of Object.values(document.versions)) expect(locked.has(digest)).toBe(false);
  }
}
