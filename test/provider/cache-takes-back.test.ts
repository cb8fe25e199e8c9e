/** When a cache file must go before a change is acknowledged: whatever it would serve at a cold start, the change may have taken back. */
import { documentsOf, resolveAlias, scopeMatches } from "@flagback/core/evaluation";
import type { Delta, RuntimeAlias, RuntimeDocument, RuntimeKillSwitch, Snapshot } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { takesBack } from "../../provider/src/cache/takes-back.ts";
import { alias, CANDIDATE, flag, killSwitch, rolledBack, STABLE } from "./documents.ts";

const NEVER = { engage: false, afterMs: 0 };
const AT = { revision: 2, mark: "0".repeat(16) };

const asDelta = (before: readonly RuntimeDocument[], after: readonly RuntimeDocument[]): Delta => {
  const gone = before.filter(({ key }) => !after.some((each) => each.key === key));
  return { type: "delta", from: 1, ...AT, put: [...after], delete: gone.map(({ kind, key }) => ({ kind, key })) };
};
const asSnapshot = (after: readonly RuntimeDocument[]): Snapshot => ({
  type: "snapshot",
  epoch: "e".repeat(32),
  ...AT,
  documents: [...after],
});

/** As the stream brings the change, and as a whole snapshot does. */
function verdicts(before: readonly RuntimeDocument[], after: readonly RuntimeDocument[]): boolean[] {
  const held = documentsOf(before);
  return [takesBack(held, asDelta(before, after)), takesBack(held, asSnapshot(after))];
}

const promoted = alias({ stable: CANDIDATE, rollout: null });

test.each<[string, RuntimeDocument[], RuntimeDocument[]]>([
  ["a promotion is rolled back", [promoted], [rolledBack()]],
  ["a candidate is promoted", [alias()], [promoted]],
  ["the stable version is revoked", [alias()], [alias({ revoked: { [STABLE]: "abort" } })]],
  ["an alias is deleted", [alias()], []],
  ["an alias becomes a flag", [alias()], [flag("support-agent", {})]],
  [
    "a switch that keeps its last value engages",
    [{ ...killSwitch(), failSafe: NEVER }],
    [{ ...killSwitch("*"), failSafe: NEVER }],
  ],
  ["a switch begins to fail safe", [{ ...killSwitch(), failSafe: NEVER }], [killSwitch()]],
])("what the file would serve is taken back when %s", (_, before, after) => {
  expect(verdicts(before, after)).toEqual([true, true]);
});

test.each<[string, RuntimeDocument[], RuntimeDocument[]]>([
  ["a candidate is rolled back", [alias()], [rolledBack()]],
  ["a switch that fails safe engages", [killSwitch()], [killSwitch("*")]],
  ["a switch is released", [{ ...killSwitch("*"), failSafe: NEVER }], [{ ...killSwitch(), failSafe: NEVER }]],
  ["a flag is deleted", [flag("banner", {})], []],
  ["something new appears", [], [alias(), killSwitch("*")]],
])("nothing of the file is taken back when %s", (_, before, after) => {
  expect(verdicts(before, after)).toEqual([false, false]);
});

test("a cold start from a file that stays serves no version and releases no switch that the change took back", () => {
  const versions = fc.constantFrom(STABLE, CANDIDATE, null);
  const aliases = fc
    .record({ stable: versions, revoked: fc.subarray([STABLE, CANDIDATE]) })
    .map(({ stable, revoked }) =>
      alias({ stable, revoked: Object.fromEntries(revoked.map((each) => [each, "abort" as const])) }),
    );
  const switches = fc
    .record({ scopes: fc.subarray(["*", "agent=a", "agent=b"]), engage: fc.boolean() })
    .map(({ scopes, engage }) => ({ ...killSwitch(...scopes), failSafe: { engage, afterMs: 0 } }));
  const world = fc.tuple(fc.option(aliases), fc.option(switches)).map((each) => each.filter((one) => one !== null));
  let kept = 0;
  fc.assert(
    fc.property(world, world, fc.constantFrom("a", "b", "c"), (before, after, agent) => {
      const [byDelta, bySnapshot] = verdicts(before, after);
      expect(byDelta).toBe(bySnapshot);
      if (byDelta) return;
      kept += 1;
      const served = stableOf(before);
      if (served !== null) expect(stableOf(after)).toBe(served);
      if (isReleased(before, agent)) expect(isReleased(after, agent)).toBe(true);
    }),
    { numRuns: 2_000 },
  );
  expect(kept).toBeGreaterThan(100);
});

/** What a cold start answers for the alias. */
function stableOf(documents: readonly RuntimeDocument[]): string | null {
  const found = documents.find((each): each is RuntimeAlias => each.kind === "alias");
  return found ? resolveAlias({ ...found, onLeaseLapse: "stable" }, undefined, false).version : null;
}

/** Whether a cold start lets the agent write. */
function isReleased(documents: readonly RuntimeDocument[], agent: string): boolean {
  const found = documents.find((each): each is RuntimeKillSwitch => each.kind === "killSwitch");
  return (
    found !== undefined && !found.failSafe.engage && !found.engaged.some(({ scope }) => scopeMatches(scope, { agent }))
  );
}
