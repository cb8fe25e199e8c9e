import type { World } from "@flagback/core";
import { expect, test } from "vitest";
import { Labels, MAX_LABELLED_ALIASES, MAX_LABELLED_VERSIONS, OTHER } from "../../server/src/telemetry/labels.ts";

test("aliases beyond the limit share one label, and the first ones keep theirs", () => {
  const names = Array.from({ length: MAX_LABELLED_ALIASES + 2 }, (_, index) => `agent-${index}`);
  const labels = new Labels(worldOf(names.map((name) => ({ name, stable: `${name}@1` }))));
  expect(labels.alias("agent-0")).toBe("agent-0");
  expect(labels.alias(names[MAX_LABELLED_ALIASES - 1]!)).toBe(names[MAX_LABELLED_ALIASES - 1]);
  expect(labels.alias(names[MAX_LABELLED_ALIASES]!)).toBe(OTHER);
  expect(labels.version(names[MAX_LABELLED_ALIASES]!, `${names[MAX_LABELLED_ALIASES]}@1`)).toBe(OTHER);
});

test("of an alias's versions those that serve keep their labels before those that only may", () => {
  const candidates = Array.from({ length: 2 * MAX_LABELLED_VERSIONS }, (_, index) => `a@${index}`);
  const serving = candidates.at(-1)!;
  const labels = new Labels(worldOf([{ name: "a", stable: "a@stable", serving, candidates }]));
  const kept = ["a@stable", serving, ...candidates].filter((id) => labels.version("a", id) === id);
  expect(kept).toEqual(["a@stable", serving, ...candidates.slice(0, MAX_LABELLED_VERSIONS - 2), serving]);
});

test("a version that is retired, or that its alias does not name, has no label", () => {
  const world = worldOf([{ name: "a", stable: "a@1", candidates: ["a@2"] }], ["a@2"]);
  const labels = new Labels(world);
  expect(["a@1", "a@2", "a@3"].map((id) => labels.version("a", id))).toEqual(["a@1", OTHER, OTHER]);
});

interface Named {
  readonly name: string;
  readonly stable: string;
  readonly serving?: string;
  readonly candidates?: readonly string[];
}

/** As much of a world as labels look at. */
function worldOf(aliases: readonly Named[], retired: readonly string[] = []): World {
  return {
    aliases: new Map(
      aliases.map(({ name, stable, serving, candidates = [] }) => [
        name,
        { name, stable, candidates, allocation: serving ? [{ version: serving, weight: 100_000 }] : [], rollout: null },
      ]),
    ),
    versions: new Map(retired.map((id) => [id, { id, retiredAt: "2026-01-01T00:00:00.000Z" }])),
  } as unknown as World;
}
