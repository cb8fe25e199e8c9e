import fc from "fast-check";
import { expect, test } from "vitest";
import { HalfSipHash } from "../../server/src/ledger/half-sip-hash.ts";
import { RecentRuns } from "../../server/src/ledger/recent-runs.ts";

test("the window remembers exactly the last runs, with who reported each, whatever comes twice", () => {
  const reports = fc.array(fc.tuple(fc.nat(60), fc.constantFrom("one", "other")), { maxLength: 300 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), reports, (window, reported) => {
      const runs = new RecentRuns(window);
      // A plain model: a Map keeps its keys in the order in which they came.
      const model = new Map<string, string>();
      for (const [n, reporter] of reported) {
        const runId = `run-${n}`;
        expect(runs.add("agent", runId, reporter)).toBe(!model.has(runId));
        if (model.has(runId)) continue;
        model.set(runId, reporter);
        for (const oldest of model.keys()) if (model.size > window) model.delete(oldest);
      }
      for (let n = 0; n <= 60; n++) expect(runs.reporterOf("agent", `run-${n}`)).toBe(model.get(`run-${n}`));
    }),
    { numRuns: 500 },
  );
});

test("one run of two aliases is two runs", () => {
  const runs = new RecentRuns();
  expect(runs.add("router", "r", "i")).toBe(true);
  expect(runs.has("agent", "r")).toBe(false);
  expect(runs.add("agent", "r", "i")).toBe(true);
  expect(runs.add("agent", "r", "i")).toBe(false);
});

test("the hash follows both texts and the key, and where one ends and the other begins", () => {
  const one = new HalfSipHash(Buffer.from("0001020304050607", "hex"));
  const other = new HalfSipHash(Buffer.from("0001020304050608", "hex"));
  const both = (hash: HalfSipHash, first: string, second: string) => [hash.of(first, second), hash.high];
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (first, second) => {
      expect(both(one, first, second)).toEqual(both(one, first, second));
      expect(both(one, first, second)).not.toEqual(both(other, first, second));
      expect(both(one, first, `${second}\0`)).not.toEqual(both(one, first, second));
      expect(both(one, `${first}a`, second)).not.toEqual(both(one, first, `a${second}`));
    }),
  );
});
