import { applyDelta, changedKeys, documentsOf, isEngaged, resolveAlias, scopeMatches } from "@flagback/core/evaluation";
import { type RuntimeAlias, type RuntimeDocument, type Slot, TOTAL_WEIGHT } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const STABLE = "support-agent@2.3.3";
const CANDIDATE = "support-agent@2.4.0";

function alias(over: Partial<RuntimeAlias> = {}): RuntimeAlias {
  return {
    kind: "alias",
    key: "support-agent",
    revision: 7,
    salt: "support-agent",
    allocation: [
      { version: CANDIDATE, weight: 5_000 },
      { version: STABLE, weight: 95_000 },
    ],
    stable: STABLE,
    versions: {
      [STABLE]: { payload: { model: "a" }, digest: "a".repeat(64) },
      [CANDIDATE]: { payload: { model: "b" }, digest: "b".repeat(64) },
    },
    rollout: { rolloutNumber: 1, candidate: CANDIDATE, stage: "validation" },
    revoked: {},
    outcomeTimeoutMs: 60_000,
    onLeaseLapse: "stable",
    ...over,
  };
}

describe("a kill switch's scope", () => {
  const own = { engaged: [{ id: "1", scope: "agent=support-agent", reason: "rollback" }] };

  test("covers an empty context and its own agent, and leaves another agent alone", () => {
    // DESIGN 3: the three reads after an alias rollback.
    expect(isEngaged(own, {})).toBe(true);
    expect(isEngaged(own, { agent: "support-agent" })).toBe(true);
    expect(isEngaged(own, { agent: "other" })).toBe(false);
  });

  test("needs every one of its attributes to match", () => {
    const scope = "agent=support-agent,tool=refund";
    expect(scopeMatches(scope, { agent: "support-agent", tool: "refund" })).toBe(true);
    expect(scopeMatches(scope, { agent: "support-agent", tool: "search" })).toBe(false);
    expect(scopeMatches(scope, { agent: "support-agent" })).toBe(true);
  });

  test("covers everything when it is a star", () => {
    expect(scopeMatches("*", { agent: "other" })).toBe(true);
  });

  test("compares numbers and booleans by their text, and covers what can't be compared", () => {
    expect(scopeMatches("tenant=7", { tenant: 7 })).toBe(true);
    expect(scopeMatches("tenant=7", { tenant: 8 })).toBe(false);
    expect(scopeMatches("tenant=7", { tenant: null })).toBe(true);
    expect(scopeMatches("tenant=7", { tenant: ["8"] })).toBe(true);
  });

  test("does not take an inherited property for an attribute", () => {
    expect(scopeMatches("constructor=x", {})).toBe(true);
  });

  test("with no entries engages nobody", () => {
    expect(isEngaged({ engaged: [] }, {})).toBe(false);
  });
});

describe("an alias", () => {
  test("splits by the targeting key's bucket", () => {
    // murmur3_x86_32("support-agent" + key) * 100000 >> 32, worked out with bucketOf's golden values: many keys land on both sides.
    const served = new Set(Array.from({ length: 400 }, (_, i) => resolveAlias(alias(), `user-${i}`, true).version));
    expect(served).toEqual(new Set([STABLE, CANDIDATE]));
    expect(resolveAlias(alias(), "user-1", true).reason).toBe("SPLIT");
  });

  test("gives stable to a run without a targeting key", () => {
    expect(resolveAlias(alias(), undefined, true)).toEqual({
      version: STABLE,
      variant: STABLE,
      role: "stable",
      reason: "DEFAULT",
      stage: "validation",
    });
    expect(resolveAlias(alias(), "", true).version).toBe(STABLE);
  });

  test("gives stable without a targeting key even while the candidate has everything", () => {
    const full = alias({ allocation: [{ version: CANDIDATE, weight: TOTAL_WEIGHT }] });
    expect(resolveAlias(full, undefined, true).version).toBe(STABLE);
    expect(resolveAlias(full, "user-1", true)).toMatchObject({
      version: CANDIDATE,
      role: "candidate",
      reason: "STATIC",
    });
  });

  test("is static when one version has everything", () => {
    const settled = alias({ allocation: [{ version: STABLE, weight: TOTAL_WEIGHT }], rollout: null });
    expect(resolveAlias(settled, "user-1", true)).toEqual({
      version: STABLE,
      variant: STABLE,
      role: "stable",
      reason: "STATIC",
    });
    expect(resolveAlias(settled, undefined, true).reason).toBe("STATIC");
  });

  test("serves stable, and says STALE, once the lease has lapsed", () => {
    for (let i = 0; i < 200; i++) {
      expect(resolveAlias(alias(), `user-${i}`, false)).toMatchObject({ version: STABLE, reason: "STALE" });
    }
  });

  test("keeps its split after a lapse when the policy says so, and still says STALE", () => {
    const last = alias({ onLeaseLapse: "last" });
    const served = Array.from({ length: 400 }, (_, i) => resolveAlias(last, `user-${i}`, false));
    expect(new Set(served.map((decision) => decision.version))).toEqual(new Set([STABLE, CANDIDATE]));
    expect(new Set(served.map((decision) => decision.reason))).toEqual(new Set(["STALE"]));
  });

  test("without a stable version or slots serves nothing", () => {
    const empty = alias({ stable: null, allocation: [], rollout: null });
    expect(resolveAlias(empty, "user-1", true).version).toBeNull();
    expect(resolveAlias(empty, undefined, false).version).toBeNull();
  });

  test("names a version that is neither stable nor the candidate 'other'", () => {
    const other = alias({ rollout: null, allocation: [{ version: CANDIDATE, weight: TOTAL_WEIGHT }] });
    expect(resolveAlias(other, "user-1", true).role).toBe("other");
  });
});

describe("no path of an alias", () => {
  const ids = ["v@1", "v@2", "v@3", "v@4"];
  const anyAlias = fc
    .record({
      weights: fc.array(fc.record({ version: fc.constantFrom(...ids), weight: fc.nat(TOTAL_WEIGHT) }), {
        maxLength: 6,
      }),
      stable: fc.constantFrom(null, ...ids),
      carried: fc.uniqueArray(fc.constantFrom(...ids)),
      revoked: fc.uniqueArray(fc.constantFrom(...ids)),
      candidate: fc.constantFrom(null, ...ids),
      onLeaseLapse: fc.constantFrom("stable" as const, "last" as const),
    })
    .map(({ weights, stable, carried, revoked, candidate, onLeaseLapse }) =>
      alias({
        allocation: withinTotal(weights),
        stable,
        versions: Object.fromEntries(carried.map((id) => [id, { payload: {}, digest: "c".repeat(64) }])),
        revoked: Object.fromEntries(revoked.map((id) => [id, "abort" as const])),
        rollout: candidate === null ? null : { rolloutNumber: 1, candidate, stage: "canary" },
        onLeaseLapse,
      }),
    );

  test("serves a version of weight 0 that is not stable, a revoked one, or anything but stable after a lapse", () => {
    fc.assert(
      fc.property(anyAlias, fc.option(fc.string(), { nil: undefined }), fc.boolean(), (document, key, leaseLive) => {
        const { version } = resolveAlias(document, key, leaseLive);
        if (version === null) return;
        const weight = document.allocation.reduce((sum, slot) => sum + (slot.version === version ? slot.weight : 0), 0);
        expect(weight > 0 || version === document.stable).toBe(true);
        expect(Object.hasOwn(document.revoked, version)).toBe(false);
        expect(Object.hasOwn(document.versions, version)).toBe(true);
        if (!leaseLive && document.onLeaseLapse === "stable") expect(version).toBe(document.stable);
      }),
    );
  });

  function withinTotal(slots: readonly Slot[]): Slot[] {
    let left = TOTAL_WEIGHT;
    return slots.map((slot) => {
      const weight = Math.min(left, slot.weight);
      left -= weight;
      return { ...slot, weight };
    });
  }
});

describe("a delta", () => {
  const document = fc
    .record({
      key: fc.constantFrom("a", "b", "c", "d", "e"),
      revision: fc.nat(5),
      on: fc.boolean(),
      flag: fc.boolean(),
    })
    .map(
      ({ key, revision, on, flag }): RuntimeDocument =>
        flag
          ? {
              kind: "flag",
              key,
              revision,
              definition: { state: "ENABLED", variants: { on: true, off: false }, defaultVariant: on ? "on" : "off" },
            }
          : {
              kind: "killSwitch",
              key,
              revision,
              engaged: on ? [{ id: "1", scope: "*", reason: "r" }] : [],
              failSafe: { engage: true, afterMs: 0 },
            },
    );
  const documents = fc.uniqueArray(document, { selector: (each) => each.key }).map(documentsOf);

  test("applied in a chain equals taking the last snapshot", () => {
    fc.assert(
      fc.property(fc.array(documents, { minLength: 1, maxLength: 6 }), (history) => {
        let held = history[0] as ReturnType<typeof documentsOf>;
        for (const next of history.slice(1)) held = applyDelta(held, deltaBetween(held, next));
        expect(new Map([...held].sort())).toEqual(new Map([...(history.at(-1) as typeof held)].sort()));
      }),
    );
  });

  test("leaves the documents that it was applied to as they were", () => {
    const before = documentsOf([alias()]);
    applyDelta(before, { put: [], delete: [{ kind: "alias", key: "support-agent" }] });
    expect(before.size).toBe(1);
  });

  test("names exactly the keys that it changed", () => {
    fc.assert(
      fc.property(documents, documents, (before, after) => {
        const delta = deltaBetween(before, after);
        const touched = new Set([...delta.put, ...delta.delete].map((each) => each.key));
        expect(new Set(changedKeys(before, after))).toEqual(touched);
      }),
    );
  });

  function deltaBetween(before: ReturnType<typeof documentsOf>, after: ReturnType<typeof documentsOf>) {
    const put = [...after.values()].filter((each) => JSON.stringify(before.get(each.key)) !== JSON.stringify(each));
    const gone = [...before.values()].filter((each) => after.get(each.key)?.kind !== each.kind);
    return { put, delete: gone.map(({ kind, key }) => ({ kind, key })) };
  }
});
