import { Outcome } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkOutcome, isRunId } from "../../provider/src/outcomes/outcome.ts";
import { RunIds } from "../../provider/src/outcomes/run-ids.ts";

const RUN = { alias: "a", version: "a@1", revision: 1 };
const good = { runId: "r", alias: "a", version: "a@1", status: "success" };

test("a bad detail costs the detail", () => {
  expect(checkOutcome(RUN, { ...good, quality: 7, durationMs: 5, prompt: "secret" })).toMatchObject({
    kind: "outcome",
    outcome: { ...good, durationMs: 5 },
    problems: [expect.stringContaining("quality"), expect.stringContaining("prompt")],
  });
  expect(checkOutcome(RUN, { ...good, toolCalls: undefined })).toEqual({
    kind: "outcome",
    outcome: good,
    problems: [],
    isEndKnown: true,
  });
});

test("more attributes or metrics than an outcome may have cost just those, and one problem each", () => {
  const keys = (length: number, value: unknown) =>
    Object.fromEntries(Array.from({ length }, (_, i) => [`key${i}`, value]));
  const report = { ...good, costUsd: 1, attributes: keys(17, Symbol("none")), metrics: keys(65, 1) };
  expect(checkOutcome(RUN, report)).toEqual({
    kind: "outcome",
    outcome: { ...good, costUsd: 1 },
    problems: ["attributes: at most 16 attributes", "metrics: at most 64 metrics"],
    isEndKnown: true,
  });
  const full = { ...good, attributes: keys(16, "x"), metrics: keys(64, 1) };
  expect(checkOutcome(RUN, full)).toMatchObject({ outcome: full, problems: [] });
});

test("details that contradict each other are found also beside a bad one", () => {
  expect(checkOutcome(RUN, { ...good, quality: 7, toolCalls: 1, toolErrors: 2 })).toMatchObject({
    kind: "outcome",
    outcome: { ...good, toolCalls: 1 },
    problems: [expect.stringContaining("quality"), expect.stringContaining("toolErrors")],
  });
});

test("a bad status leaves a run whose end is unknown, a bad run id costs the id", () => {
  expect(checkOutcome(RUN, { ...good, status: "great" })).toMatchObject({
    outcome: { runId: "r", status: "cancelled", errorOrigin: "client" },
    isEndKnown: false,
  });
  expect(checkOutcome(RUN, { ...good, runId: "x".repeat(129) })).toMatchObject({
    outcome: { status: "success", runId: expect.stringMatching(/^[0-9a-f-]{36}$/) },
    isEndKnown: true,
  });
});

test("an alias that can't exist has no outcome", () => {
  expect(checkOutcome({ ...RUN, alias: "my agent" }, good).kind).toBe("invalid");
});

test("whatever is reported about a run, an outcome of it comes out that the schema takes", () => {
  const names = fc.constantFrom(...Object.keys(Outcome.shape), "nonsense");
  const hostile = fc
    .constant(null)
    .map(() => new Proxy({}, { get: throwing, ownKeys: throwing, getPrototypeOf: throwing }));
  const values = fc.oneof(fc.anything(), hostile, fc.nat(), fc.string(), fc.constant("failure"));
  fc.assert(
    fc.property(fc.oneof(fc.dictionary(names, values), fc.anything(), hostile), (reported) => {
      const checked = checkOutcome(RUN, reported);
      expect(checked.kind).toBe("outcome");
      if (checked.kind === "outcome") expect(Outcome.safeParse(checked.outcome).success).toBe(true);
    }),
  );
});

test("a run id is what the schema takes as one", () => {
  for (const id of ["", "x", "x".repeat(128), "x".repeat(129), 7, null]) {
    expect(isRunId(id)).toBe(Outcome.shape.runId.safeParse(id).success);
  }
});

test("run ids stay unique and within the schema's length, and what is remembered is bounded", () => {
  const ids = new RunIds(10);
  const claimed = Array.from({ length: 20 }, () => ids.claim("a", "x".repeat(128)));
  expect(new Set(claimed).size).toBe(20);
  expect(claimed.every(isRunId)).toBe(true);
  expect(ids.claim("b", "x")).toBe("x");
  for (let i = 0; i < 100; i++) expect(ids.claim("a", `run-${i}`)).toBe(`run-${i}`);
  expect(ids.claim("a", "run-99")).not.toBe("run-99");
  expect(ids.claim("b", "x")).toBe("x");
});

function throwing(): never {
  throw new Error("looked at");
}
