import { versionDiff } from "@flagback/core";
import type { Json, Version } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sequenceDiff } from "../../src/rollout/sequence-diff.ts";
import { textDiff } from "../../src/rollout/text-diff.ts";

const version = (id: string, payload: Json): Version => ({
  id,
  alias: "agent",
  kind: "prompt",
  payload,
  digest: `${id.length}`.padStart(64, "0"),
  labels: {},
  notes: "",
  createdAt: "2026-01-02T03:04:05.678Z",
  createdBy: "ada",
});

/** The differences from one payload to another. */
const changes = (from: Json, to: Json) => versionDiff(version("agent@1", from), version("agent@10", to)).changes;

describe("the difference of two versions", () => {
  test("is told by path, with what was there before and what is there now", () => {
    expect(
      changes(
        { model: "a", temperature: 0.2, tools: ["search", "refund"], old: true },
        { model: "b", temperature: 0.2, tools: ["search"], "new/one": null },
      ),
    ).toEqual([
      { op: "replace", path: "/model", from: "a", to: "b" },
      { op: "remove", path: "/tools/1", from: "refund" },
      { op: "remove", path: "/old", from: true },
      { op: "add", path: "/new~1one", to: null },
    ]);
  });

  test("of a prompt is told line by line, and of a reworded line which words changed", () => {
    const [change] = changes(
      { prompt: "Be kind.\nAnswer in English.\nStop." },
      { prompt: "Be kind.\nAnswer in Dutch.\nStop." },
    );
    expect(change?.lines).toEqual([
      { kind: "same", text: "Be kind." },
      {
        kind: "removed",
        text: "Answer in English.",
        parts: [
          { text: "Answer in ", isChanged: false },
          { text: "English", isChanged: true },
          { text: ".", isChanged: false },
        ],
      },
      {
        kind: "added",
        text: "Answer in Dutch.",
        parts: [
          { text: "Answer in ", isChanged: false },
          { text: "Dutch", isChanged: true },
          { text: ".", isChanged: false },
        ],
      },
      { kind: "same", text: "Stop." },
    ]);
  });

  test("of a payload that became another kind of value is one change of the whole", () => {
    expect(changes("text", { prompt: "text" })).toEqual([
      { op: "replace", path: "", from: "text", to: { prompt: "text" } },
    ]);
  });

  test("of the same payload under two ids is none", () => {
    const diff = versionDiff(version("agent@1", { a: 1 }), version("agent@10", { a: 1 }));
    expect(diff).toMatchObject({ isSamePayload: true, changes: [], omitted: 0 });
  });

  test("says how many differences it leaves out", () => {
    const many = (value: number) => Object.fromEntries(Array.from({ length: 130 }, (_, n) => [`key${n}`, value]));
    const diff = versionDiff(version("agent@1", many(1)), version("agent@10", many(2)));
    expect([diff.changes.length, diff.omitted]).toEqual([100, 30]);
  });
});

test("no more than ten texts are compared line by line, and of the others both are told", () => {
  const texts = (sign: string) =>
    Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`part${n}`, `${sign}\n${n}`]));
  const told = changes(texts("a"), texts("b"));
  expect(told.map(({ lines }) => lines?.length)).toEqual([
    ...Array.from({ length: 10 }, () => 3),
    undefined,
    undefined,
  ]);
  expect(told.at(-1)).toMatchObject({ from: "a\n11", to: "b\n11" });
});

describe("a diff of sequences", () => {
  const texts = fc.array(fc.constantFrom("a", "b", "c", "d"), { maxLength: 12 });

  test("gives both back: what stays and goes is the one, what stays and comes the other", () => {
    fc.assert(
      fc.property(texts, texts, (from, to) => {
        const steps = sequenceDiff(from, to, 1_000);
        const side = (kind: "removed" | "added") =>
          steps.filter((step) => step.kind === "same" || step.kind === kind).map(({ text }) => text);
        expect(side("removed")).toEqual(from);
        expect(side("added")).toEqual(to);
      }),
    );
  });

  test("is the shortest there is", () => {
    fc.assert(
      fc.property(texts, texts, (from, to) => {
        const same = sequenceDiff(from, to, 1_000).filter(({ kind }) => kind === "same").length;
        expect(same).toBe(longestCommon(from, to));
      }),
    );
  });

  test("too large to compare is said to be replaced, between what both begin and end with", () => {
    const many = (sign: string) => Array.from({ length: 2_000 }, (_, n) => `${sign}${n}`);
    const steps = sequenceDiff(["first", ...many("a"), "last"], ["first", ...many("b"), "last"], 1_000_000);
    expect(steps.filter(({ kind }) => kind === "same").map(({ text }) => text)).toEqual(["first", "last"]);
    expect(steps).toHaveLength(4_002);
  });
});

test("a text of as many lines as a payload can have is compared too", () => {
  const lines = 131_000;
  const diff = textDiff(Array(lines).fill("a").join("\n"), Array(lines).fill("b").join("\n"));
  expect(diff).toHaveLength(2 * lines);
});

test("the parts of a line are the line", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (from, to) => {
      for (const line of textDiff(from, to)) {
        if (line.parts) expect(line.parts.map(({ text }) => text).join("")).toBe(line.text);
      }
    }),
  );
});

/** By its definition, without a table. */
function longestCommon(from: readonly string[], to: readonly string[]): number {
  const known = new Map<string, number>();
  const lengthFrom = (i: number, j: number): number => {
    if (i === from.length || j === to.length) return 0;
    const key = `${i},${j}`;
    const found =
      known.get(key) ??
      (from[i] === to[j] ? 1 + lengthFrom(i + 1, j + 1) : Math.max(lengthFrom(i + 1, j), lengthFrom(i, j + 1)));
    known.set(key, found);
    return found;
  };
  return lengthFrom(0, 0);
}
