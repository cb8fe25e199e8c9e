import { OutcomeBatch, readOutcomeBatch, readStreamOutcome, StreamOutcome } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";

function recordOf(size: number, value: unknown): Record<string, unknown> {
  return Object.fromEntries(Array.from({ length: size }, (_, i) => [`key${i}`, value]));
}

/** Values at the edges of what fields may hold, of every type, and as JSON reads them. */
const nearValue = fc.oneof(
  fc.constantFrom(null, true, false, "", "a", "-a", "a b", "a@1", "a/b:c+d", "é", "\n", "a\n", "candidate", "tool"),
  fc.constantFrom(-1, -0, 0, 0.5, 1, 1.5, 32, 100_000, 100_001, 1_000_000, 1_000_001, 86_400_000, 86_400_001),
  fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER + 1, Number.MAX_VALUE, Number.POSITIVE_INFINITY),
  fc.constantFrom(64, 65, 128, 129, 256, 257).map((length) => "x".repeat(length)),
  fc.constantFrom(16, 17, 32, 33, 500, 501).map((length) => Array.from({ length }, () => 1)),
  fc.constantFrom(16, 17).map((length) => Array.from({ length }, () => "flag")),
  fc.tuple(fc.constantFrom(16, 17, 64, 65), fc.constantFrom("v", 1)).map(([size, value]) => recordOf(size, value)),
  fc.constantFrom({}, [], { a: 1 }, { a: "b" }, { ["x".repeat(65)]: 1 }, ["UPPER"], [null], { constructor: "x" }),
  fc.constantFrom(
    "2026-01-31T23:59:59.999Z",
    "2026-02-29T00:00:00.000Z",
    "2024-02-29T00:00:00.000Z",
    "2026-04-31T00:00:00.000Z",
    "2026-01-01T24:00:00.000Z",
    "2026-01-01T00:00Z",
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.1Z",
    "2026-01-01T00:00:00.000+01:00",
    "2026-13-01T00:00:00.000Z",
    "2026-01-00T00:00:00.000Z",
  ),
  fc.jsonValue(),
);

/** Mostly of few keys, and now and then of as many as there may be and of one more. */
function records<Value>(max: number, values: fc.Arbitrary<Value>): fc.Arbitrary<Record<string, Value>> {
  const filled = fc.tuple(fc.constantFrom(max, max + 1), values).map(([size, value]) => recordOf(size, value));
  return fc.oneof(
    { weight: 4, arbitrary: fc.dictionary(fc.string({ maxLength: 64 }), values, { maxKeys: 16 }) },
    { weight: 1, arbitrary: filled as fc.Arbitrary<Record<string, Value>> },
  );
}

const outcome = fc.record(
  {
    runId: fc.string({ minLength: 1, maxLength: 128 }),
    alias: fc.constantFrom("agent", "a.b_c-1"),
    version: fc.constantFrom("agent@2", "anthropic:claude-sonnet-4-6", "a/b+c"),
    status: fc.constantFrom("success", "failure", "timeout", "escalated", "cancelled", "blocked"),
    assignedSeq: fc.integer({ min: 1 }),
    arm: fc.constantFrom("candidate", "stable"),
    durationMs: fc.double({ min: 0, max: 86_400_000, noNaN: true }),
    errorType: fc.string({ maxLength: 128 }),
    errorOrigin: fc.constantFrom("model", "provider", "tool", "agent", "client", "policy"),
    toolCalls: fc.nat(5),
    toolErrors: fc.nat(5),
    writes: fc.nat(),
    blockedWrites: fc.nat(1_000_000),
    costUsd: fc.double({ min: 0, max: 1_000_000, noNaN: true }),
    inputTokens: fc.nat(),
    outputTokens: fc.nat(),
    quality: fc.double({ min: 0, max: 1, noNaN: true }),
    safetyFlags: fc.array(fc.constantFrom("pii", "harm_1"), { maxLength: 16 }),
    conversationId: fc.string({ maxLength: 128 }),
    isDefault: fc.boolean(),
    drill: fc.boolean(),
    traceId: fc.string({ maxLength: 64 }),
    attributes: records(16, fc.string({ maxLength: 128 })),
    metrics: records(64, fc.double({ noDefaultInfinity: true, noNaN: true })),
    startedAt: fc
      .date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) })
      .map((date) => date.toISOString()),
    endedAt: fc.constant("2026-01-01T00:00:00.000Z"),
    overdueLimitsMs: fc.array(fc.double({ noDefaultInfinity: true, noNaN: true }), { maxLength: 32 }),
  },
  { requiredKeys: ["runId", "alias", "version", "status", "assignedSeq"] },
);

const group = fc.record({
  alias: fc.constantFrom("agent", "a.b_c-1"),
  version: fc.constant("agent@2"),
  revision: fc.nat(),
  n: fc.integer({ min: 1, max: 100_000 }),
});
const overdueRuns = fc.record({
  assignedSeq: fc.integer({ min: 1 }),
  alias: fc.constant("agent"),
  version: fc.constant("agent@2"),
  limitMs: fc.double({ min: 1, max: 1e6, noNaN: true }),
  n: fc.integer({ min: 1, max: 100_000 }),
});
const batch = fc.record(
  {
    type: fc.constant("outcomes"),
    seq: fc.integer({ min: 1 }),
    assigned: fc.array(group, { maxLength: 3 }),
    overdue: fc.array(overdueRuns, { maxLength: 3 }),
    items: fc.array(fc.jsonValue(), { maxLength: 3 }),
  },
  { requiredKeys: ["type", "seq", "assigned", "items"] },
);

/** The value with some of its fields, known or not, replaced or taken away. */
function mutated<Value extends object>(values: fc.Arbitrary<Value>, names: readonly string[]): fc.Arbitrary<unknown> {
  const name = fc.oneof(fc.constantFrom(...names), fc.constantFrom("prompt", "constructor", "__proto__", "toString"));
  const change = fc.tuple(name, fc.option(nearValue, { nil: undefined }));
  return fc.tuple(values, fc.array(change, { maxLength: 2 })).map(([value, changes]) => {
    const fields = new Map<string, unknown>(Object.entries(value));
    for (const [field, to] of changes) {
      if (to === undefined) fields.delete(field);
      else fields.set(field, to);
    }
    // Own properties, as JSON makes them: also one that is called __proto__.
    return fields.size === 0 ? {} : ownProperties(fields);
  });
}

function ownProperties(fields: ReadonlyMap<string, unknown>): object {
  const made = {};
  for (const [name, value] of fields)
    Object.defineProperty(made, name, { value, enumerable: true, writable: true, configurable: true });
  return made;
}

function hasProtoRecord(value: unknown): boolean {
  const { attributes, metrics } = (value ?? {}) as Record<string, unknown>;
  return [attributes, metrics].some(
    (each) => typeof each === "object" && each !== null && Object.hasOwn(each, "__proto__"),
  );
}

const SIDES = {
  outcome: {
    read: readStreamOutcome,
    schema: StreamOutcome,
    values: mutated(outcome, Object.keys(StreamOutcome.shape)),
  },
  batch: { read: readOutcomeBatch, schema: OutcomeBatch, values: mutated(batch, Object.keys(OutcomeBatch.shape)) },
} as const;

describe.each(Object.entries(SIDES))("an %s read by hand", (_name, { read, schema, values }) => {
  const agree = (value: unknown) => {
    // The last test below is about these.
    fc.pre(!hasProtoRecord(value));
    const parsed = schema.safeParse(value);
    expect(read(value)).toEqual(parsed.success ? parsed.data : undefined);
  };

  test("is accepted and understood exactly as by the schema, whatever is changed in it", () => {
    fc.assert(fc.property(values, agree), { numRuns: 3_000 });
  });

  test("is refused as by the schema where it is any JSON at all", () => {
    fc.assert(fc.property(fc.jsonValue(), agree));
  });
});

test("groups of assignments and overdue runs are read as by the schema, whatever is changed in one", () => {
  const groups = mutated(group, ["alias", "version", "revision", "n"]);
  const overdue = mutated(overdueRuns, ["assignedSeq", "alias", "version", "limitMs", "n"]);
  fc.assert(
    fc.property(groups, overdue, (one, other) => {
      for (const fields of [{ assigned: [one] }, { assigned: [], overdue: [other] }]) {
        const value = { type: "outcomes", seq: 1, items: [], ...fields };
        const parsed = OutcomeBatch.safeParse(value);
        expect(readOutcomeBatch(value)).toEqual(parsed.success ? parsed.data : undefined);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("a record with a __proto__ is left to the schema", () => {
  const value = JSON.parse(
    '{"runId":"r","alias":"a","version":"v","status":"success","assignedSeq":1,"metrics":{"__proto__":1,"x":2}}',
  );
  expect(readStreamOutcome(value)).toBeUndefined();
  expect(StreamOutcome.parse(value).metrics).toEqual({ x: 2 });
});

test("a record of too many keys is refused before any of them is looked at", () => {
  const refusedWith = (fields: object) => {
    const value = { runId: "r", alias: "a", version: "v", status: "success", assignedSeq: 1, ...fields };
    expect(readStreamOutcome(value)).toBeUndefined();
    return StreamOutcome.safeParse(value).error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
  };
  const looked = vi.fn();
  const watched = (size: number) =>
    Object.defineProperties(
      {},
      Object.fromEntries(Array.from({ length: size }, (_, i) => [`key${i}`, { enumerable: true, get: looked }])),
    );
  expect(refusedWith({ attributes: watched(17) })).toEqual(["attributes: at most 16 attributes"]);
  expect(refusedWith({ metrics: watched(65) })).toEqual(["metrics: at most 64 metrics"]);
  expect(looked).not.toHaveBeenCalled();
});
