import { decodeRuntimeFrame, type OutcomeBatch, StreamOutcome } from "@flagback/schemas";
import fc from "fast-check";
import { expect, test } from "vitest";
import { OutcomeFrames } from "../../server/src/stream/outcome-frames.ts";

const plainText = fc.string({ unit: fc.constantFrom(..."aZ09 ._:@/+-{}[],:'"), minLength: 1, maxLength: 20 });
const anyText = fc.string({ unit: "binary", maxLength: 20 });
const anyNumber = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(-0, 1e21, 1e-7, 5e-324, 86_400_001),
);
const someNumber = fc.oneof(
  fc.tuple(fc.nat(1_000_000), fc.nat(9)).map(([digits, places]) => digits / 10 ** places),
  fc.double({ min: 0, max: 1, noNaN: true }),
);

/** Now and then something that it may not be. */
function mostly<Value>(usual: fc.Arbitrary<Value>, rare: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 40, arbitrary: usual }, { weight: 1, arbitrary: rare });
}

const count = mostly(fc.nat(1_000), anyNumber);
const amount = mostly(someNumber, anyNumber);
const words = mostly(plainText, fc.oneof(anyText, fc.constant("x".repeat(200))));
const seq = mostly(fc.integer({ min: 1 }), anyNumber);
const alias = mostly(fc.constantFrom("agent", "a.b_c-1"), anyText);
const version = mostly(fc.constantFrom("agent@2", "anthropic:claude-sonnet-4-6", "a/b+c"), words);
const moment = mostly(fc.constant("2026-01-31T23:59:59.999Z"), fc.constantFrom("2026-02-29T00:00:00.000Z", "now"));

const outcome = fc.record(
  {
    runId: words,
    alias,
    version,
    status: mostly(fc.constantFrom("success", "failure", "timeout", "escalated", "cancelled", "blocked"), anyText),
    arm: mostly(fc.constantFrom("candidate", "stable"), anyText),
    durationMs: amount,
    errorType: words,
    errorOrigin: mostly(fc.constantFrom("model", "provider", "tool", "agent", "client", "policy"), anyText),
    toolCalls: fc.constant(1_000),
    toolErrors: count,
    writes: count,
    blockedWrites: count,
    costUsd: amount,
    inputTokens: count,
    outputTokens: count,
    quality: mostly(fc.double({ min: 0, max: 1, noNaN: true }), anyNumber),
    conversationId: words,
    traceId: words,
    startedAt: moment,
    endedAt: moment,
    assignedSeq: seq,
  },
  { requiredKeys: ["runId", "alias", "version", "status", "assignedSeq"] },
);
/** Fields that are never plain, or that nobody knows. */
const beside = fc.constantFrom({ safetyFlags: ["pii"] }, { isDefault: true }, { attributes: {} }, { prompt: "secret" });
const item = fc.oneof(
  { weight: 20, arbitrary: outcome },
  { weight: 1, arbitrary: fc.tuple(outcome, beside).map(([one, more]) => ({ ...one, ...more })) },
);
const assignment = fc.record({
  alias,
  version,
  revision: count,
  n: mostly(fc.integer({ min: 1, max: 1_000 }), anyNumber),
});
const batch = fc.record(
  {
    type: fc.constant("outcomes"),
    seq,
    assigned: fc.array(assignment, { maxLength: 2 }),
    items: fc.array(item, { maxLength: 3 }),
  },
  { requiredKeys: ["type", "seq", "assigned", "items"] },
);

/** Frames as they are sent, and with some of their characters replaced, taken out or doubled. */
const edit = fc.record({
  at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  removed: fc.nat(3),
  added: fc.constantFrom(
    "",
    "",
    '"',
    "\\",
    "\\u0061",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    ".",
    "-",
    "0",
    "1",
    "e5",
    " ",
    "é",
    "null",
  ),
});
const text = fc.tuple(batch, fc.oneof(fc.constant([]), fc.array(edit, { maxLength: 2 }))).map(([value, edits]) => {
  let frame = JSON.stringify(value);
  for (const { at, removed, added } of edits) {
    const start = Math.floor(at * frame.length);
    frame = frame.slice(0, start) + added + frame.slice(start + removed);
  }
  return frame;
});

test("what is read from the bytes is what the decoder reads, and what it refuses is not read", () => {
  // One for all, because what it remembers of a frame must not tell in the next.
  const frames = new OutcomeFrames();
  let read = 0;
  fc.assert(
    fc.property(text, (frame) => {
      const found = frames.read(Buffer.from(frame));
      if (found === undefined) return;
      read += 1;
      const decoded = decodeRuntimeFrame(frame);
      expect(decoded.kind).toBe("message");
      const { message } = decoded as { message: OutcomeBatch };
      const { areItemsChecked, ...batchRead } = found;
      expect(areItemsChecked).toBe(true);
      expect(batchRead).toEqual({ ...message, items: message.items.map((item) => StreamOutcome.parse(item)) });
    }),
    { numRuns: 5_000 },
  );
  // Else the property would say little.
  expect(read).toBeGreaterThan(1_000);
});

test("an outcome with every plain field is read, in any order of its fields, and however its numbers are written", () => {
  const item = {
    runId: "run-1",
    alias: "support-agent",
    version: "support-agent@2.4.0",
    arm: "candidate",
    status: "failure",
    durationMs: 412.345_678_901_234_5,
    errorType: "rate_limit",
    errorOrigin: "model",
    toolCalls: 3,
    toolErrors: 1,
    writes: 2,
    blockedWrites: 0,
    costUsd: 0.012,
    inputTokens: 1_200,
    outputTokens: 340,
    quality: 1e-7,
    conversationId: "c 1",
    traceId: "0af7651916cd43dd8448eb211c80319c",
    startedAt: "2026-01-31T23:59:59.000Z",
    endedAt: "2026-01-31T23:59:59.999Z",
    assignedSeq: 7,
  };
  const reversed = Object.fromEntries(Object.entries(item).toReversed());
  const value = {
    type: "outcomes",
    seq: 7,
    assigned: [{ alias: "support-agent", version: "support-agent@2.4.0", revision: 12, n: 2 }],
    items: [item, reversed],
  };
  expect(new OutcomeFrames().read(Buffer.from(JSON.stringify(value)))).toEqual({ ...value, areItemsChecked: true });
});

test("more versions than it can remember are told apart, and each comes back as it was sent", () => {
  const frames = new OutcomeFrames();
  const versions = Array.from({ length: 5_000 }, (_, n) => `agent@${n}`);
  const item = (version: string) => ({ runId: "r", alias: "agent", version, status: "success", assignedSeq: 1 });
  for (let round = 0; round < 3; round++) {
    const read = versions.map((version) => {
      const frame = JSON.stringify({ type: "outcomes", seq: 1, assigned: [], items: [item(version), item("agent@x")] });
      return frames.read(Buffer.from(frame))?.items.map((each) => (each as StreamOutcome).version);
    });
    expect(read).toEqual(versions.map((version) => [version, "agent@x"]));
  }
});

test.each([
  ["a frame that goes on after its end", '{"type":"outcomes","seq":1,"assigned":[],"items":[]}}'],
  ["a frame that is cut off", '{"type":"outcomes","seq":1,"assigned":[],"items":[{"runId":"r'],
  ["a number that JSON does not know", '{"type":"outcomes","seq":01,"assigned":[],"items":[]}'],
  ["a text with an escape", frameOf({ runId: "two\nlines" })],
  ["a text that is not ASCII", frameOf({ runId: "café" })],
  ["another message", '{"type":"lease","id":1}'],
  ["nothing", ""],
])("%s is left to the decoder", (_what, frame) => {
  expect(new OutcomeFrames().read(Buffer.from(frame))).toBeUndefined();
});

test("an outcome whose fields are all plain is not left to it", () => {
  expect(new OutcomeFrames().read(Buffer.from(frameOf({ runId: "r" })))).toBeDefined();
});

function frameOf(fields: { readonly runId: string }): string {
  const item = { ...fields, alias: "agent", version: "agent@2", status: "success", assignedSeq: 1 };
  return JSON.stringify({ type: "outcomes", seq: 1, assigned: [], items: [item] });
}
