import { readsOf } from "@flagback/provider";
import fc from "fast-check";
import { expect, test } from "vitest";
import { writeRule } from "../../provider/src/toolkit/write-rule.ts";

const NAMES = ["search", "refund", "remove", "lookup"] as const;
const name = fc.constantFrom(...NAMES, "misspelt");
const hint = fc.constantFrom(undefined, true, false, "true", 1);
const tool = fc.record(
  {
    type: fc.constantFrom("function", "dynamic"),
    annotations: fc.record({ readOnlyHint: hint, destructiveHint: hint }, { requiredKeys: [] }),
    metadata: fc.record({ annotations: fc.option(fc.record({ readOnlyHint: hint })) }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
);
const options = fc
  .record({ writes: fc.uniqueArray(name), reads: fc.uniqueArray(name) }, { requiredKeys: [] })
  .filter(({ writes = [], reads = [] }) => !writes.some((each) => reads.includes(each)));

test("a tool is a read only if somebody vouches for it: its name, its hint, or a whole list of writes without it", () => {
  fc.assert(
    fc.property(options, fc.constantFrom(...NAMES), tool, (given, asked, it) => {
      const rule = writeRule(given, NAMES);
      const { writes, reads = [] } = given;
      const isOurs = it.annotations === undefined && it.type !== "dynamic" && !("annotations" in (it.metadata ?? {}));
      const vouchers = [
        reads.includes(asked),
        (it.annotations ?? it.metadata?.annotations)?.readOnlyHint === true,
        isOurs && writes !== undefined && !writes.includes("misspelt"),
      ];
      if (rule.kindOf(asked, it) === "read") {
        expect(vouchers).toContain(true);
        expect(writes ?? []).not.toContain(asked);
      }
    }),
  );
});

test("naming one write more never makes a read of another tool", () => {
  fc.assert(
    fc.property(options, name, fc.constantFrom(...NAMES), tool, (given, more, asked, it) => {
      fc.pre(more !== asked && given.writes !== undefined && !given.reads?.includes(more));
      const kindOf = (writes: readonly string[]) => writeRule({ ...given, writes }, NAMES).kindOf(asked, it);
      const before = kindOf(given.writes ?? []);
      if (before !== "read") expect(kindOf([...(given.writes ?? []), more])).not.toBe("read");
    }),
  );
});

test("the reads of an MCP server's list are the tools that say so", () => {
  expect(
    readsOf([
      { name: "list_orders", annotations: { readOnlyHint: true } },
      { name: "add_note", annotations: { readOnlyHint: false, destructiveHint: false } },
      { name: "refund", annotations: {} },
      { name: "mute" },
    ]),
  ).toEqual(["list_orders"]);
});
