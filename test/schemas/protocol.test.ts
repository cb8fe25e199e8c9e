import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { decodeRuntimeFrame, decodeServerFrame, RuntimeMessage, ServerMessage, StreamOutcome } from "@flagback/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const FRAMES = fileURLToPath(new URL("../fixtures/frames/", import.meta.url));
const SIDES = {
  server: { decode: decodeServerFrame, union: ServerMessage },
  runtime: { decode: decodeRuntimeFrame, union: RuntimeMessage },
} as const;

const golden = readdirSync(FRAMES).map((name) => {
  const [side, type] = name.replace(".json", "").split("-") as [keyof typeof SIDES, string];
  return { name, side, type, text: readFileSync(`${FRAMES}${name}`, "utf8") };
});

describe("golden frames of v1: what was released must still decode", () => {
  test.each(golden)("$name decodes to itself", ({ side, text }) => {
    expect(SIDES[side].decode(text)).toEqual({ kind: "message", message: JSON.parse(text) });
  });

  test.each(Object.keys(SIDES) as (keyof typeof SIDES)[])(
    "each message type of the %s has its golden frame",
    (side) => {
      const types = SIDES[side].union.options.map((option) => option.shape.type.value);
      expect(
        golden
          .filter((frame) => frame.side === side)
          .map((frame) => frame.type)
          .sort(),
      ).toEqual(types.sort());
    },
  );

  test("each item of the golden batch is an outcome of the stream", () => {
    const batch = JSON.parse(readFileSync(`${FRAMES}runtime-outcomes.json`, "utf8"));
    for (const item of batch.items) expect(StreamOutcome.parse(item)).toEqual(item);
  });
});

describe("decoding", () => {
  test.each(Object.entries(SIDES))("a frame of any text gives an answer and never throws (%s)", (_side, { decode }) => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json(), fc.constantFrom("", "null", "[]", "0", '"hello"', "{")), (text) => {
        expect(["message", "unknown_type", "malformed"]).toContain(decode(text).kind);
      }),
    );
  });

  test.each(golden)("$name with any one field replaced gives an answer and never throws", ({ side, text }) => {
    const frame = JSON.parse(text);
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(frame)), fc.jsonValue(), (field, value) => {
        expect(["message", "unknown_type", "malformed"]).toContain(
          SIDES[side].decode(JSON.stringify({ ...frame, [field]: value })).kind,
        );
      }),
      { numRuns: 50 },
    );
  });

  test("a type of a later protocol is named, so that the reader can ignore it", () => {
    expect(decodeServerFrame('{"type":"weather","sunny":true}')).toEqual({ kind: "unknown_type", type: "weather" });
    // A runtime's message is no server's message, and the other way round.
    expect(decodeServerFrame('{"type":"applied","revision":1,"appliedAfterMs":1}').kind).toBe("unknown_type");
    expect(decodeRuntimeFrame('{"type":"snapshot"}').kind).toBe("unknown_type");
  });

  test.each([
    ["no JSON", "{nope", /^the frame is no JSON from position 1 on$/],
    ["no JSON, and not quoted, because problems are logged", "hello", /^the frame is no JSON$/],
    ["no object", "[1,2]", /^the frame has no type$/],
    ["a type that is no string", '{"type":1}', /^the frame has no type$/],
    ["a field of the wrong type", '{"type":"lease","id":"seven","revision":1}', /^lease: id: /],
    ["a missing field", '{"type":"lease","id":7}', /^lease: revision: /],
    [
      "a mark of the wrong length",
      '{"type":"delta","from":1,"revision":2,"mark":"beef","put":[],"delete":[]}',
      /^delta: mark: /,
    ],
  ])("%s is malformed, and the problem says where", (_what, text, problem) => {
    const decoded = decodeServerFrame(text);
    expect(decoded).toMatchObject({ kind: "malformed", problem: expect.stringMatching(problem) });
  });

  test("fields that this version does not know are dropped, so that v1 can grow", () => {
    expect(decodeServerFrame('{"type":"lease","id":7,"revision":42,"mood":"good"}')).toEqual({
      kind: "message",
      message: { type: "lease", id: 7, revision: 42 },
    });
  });

  test("one bad item does not make its batch malformed: items are judged one by one", () => {
    const decoded = decodeRuntimeFrame('{"type":"outcomes","seq":1,"assigned":[],"items":[{"nonsense":1}, 5]}');
    expect(decoded.kind).toBe("message");
    expect(StreamOutcome.safeParse({ nonsense: 1 }).success).toBe(false);
  });
});

describe("an outcome of the stream", () => {
  const item = { assignedSeq: 1, runId: "r", alias: "a", version: "a@1", status: "failure" };

  test("can't claim more tool errors than tool calls, because a fraction above 1 would break the test's validity", () => {
    expect(StreamOutcome.safeParse({ ...item, toolCalls: 1, toolErrors: 2 }).success).toBe(false);
    expect(StreamOutcome.safeParse({ ...item, toolCalls: 2, toolErrors: 2 }).success).toBe(true);
  });

  test("has no place for a prompt or an answer", () => {
    const parsed = StreamOutcome.safeParse({ ...item, prompt: "my password is" });
    expect(JSON.stringify(parsed.data ?? {})).not.toContain("password");
  });
});
