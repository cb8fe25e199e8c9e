/** The fuzz's hostile frames are what they claim to be, and the same for the same seed. */
import { decodeServerFrame, type ServerMessage } from "@flagback/schemas";
import { expect, test } from "vitest";
import { alias, flag, killSwitch } from "../provider/documents.ts";
import { SeededRandom } from "../support/seeded-random.ts";
import { anyHello, anyMessage } from "./provider-fuzz/any-message.ts";
import { carriesState, invented, mutated, newer, remarked, tamed } from "./provider-fuzz/hostile-frames.ts";

const SEEDS = Array.from({ length: 400 }, (_, seed) => seed);
const SNAPSHOT = JSON.stringify({
  type: "snapshot",
  epoch: "e".repeat(32),
  revision: 7,
  mark: "0".repeat(16),
  documents: [alias(), killSwitch("*"), flag("banner", {})],
} satisfies ServerMessage);

/** What a runtime makes of a text; frames can be nested deeper than the stack that decodes them. */
function kindOf(text: string): string {
  try {
    return decodeServerFrame(text).kind;
  } catch {
    return "too deep";
  }
}

test("the same seed makes the same frame", () => {
  for (const seed of SEEDS) {
    expect(mutated(SNAPSHOT, new SeededRandom(seed))).toBe(mutated(SNAPSHOT, new SeededRandom(seed)));
    expect(invented(new SeededRandom(seed))).toBe(invented(new SeededRandom(seed)));
  }
});

test("mutated frames are valid or malformed, and invented ones also of unknown types", () => {
  const mutants = new Set(SEEDS.map((seed) => kindOf(mutated(SNAPSHOT, new SeededRandom(seed)))));
  expect([...mutants]).toEqual(expect.arrayContaining(["message", "malformed"]));
  const inventions = new Set(SEEDS.map((seed) => kindOf(invented(new SeededRandom(seed)))));
  expect([...inventions]).toEqual(expect.arrayContaining(["message", "unknown_type", "malformed"]));
});

test("messages of any content are valid", () => {
  for (const seed of SEEDS) {
    const random = new SeededRandom(seed);
    for (const message of [anyMessage(random), anyHello(random)]) {
      expect(decodeServerFrame(JSON.stringify(message))).toMatchObject({ kind: "message" });
    }
  }
});

test("a frame of a later protocol means the same to this one", () => {
  for (const seed of SEEDS) {
    const text = newer(SNAPSHOT, new SeededRandom(seed));
    expect(text).not.toBe(SNAPSHOT);
    expect(decodeServerFrame(text)).toEqual(decodeServerFrame(SNAPSHOT));
  }
});

test("a lie about the state is known as one, and gets a mark of its own", () => {
  expect(carriesState(SNAPSHOT)).toBe(true);
  expect(carriesState('{"type":"lease","id":1,"revision":7}')).toBe(false);
  expect(carriesState("[".repeat(200_000))).toBe(false);
  expect(remarked(SNAPSHOT, new SeededRandom(1))).not.toContain(`"mark":"${"0".repeat(16)}"`);
});

test("no frame makes the run wait: what a server may ask for in minutes is asked for in milliseconds", () => {
  const hello = { ...anyHello(new SeededRandom(1)), heartbeatMs: 1e12, leaseMs: 1e12 };
  expect(JSON.parse(tamed(JSON.stringify(hello)))).toEqual({ ...hello, heartbeatMs: 1_000, leaseMs: 1_000 });
  const goodbye = { type: "goodbye", reason: "", retryAfterMs: 1e12, spreadMs: 1e12 };
  expect(JSON.parse(tamed(JSON.stringify(goodbye)))).toMatchObject({ retryAfterMs: 300, spreadMs: 300 });
  const ack = { type: "outcomesAck", through: 1, slowDownMs: 1e12 };
  expect(JSON.parse(tamed(JSON.stringify(ack)))).toMatchObject({ slowDownMs: 300 });
  expect(tamed("no frame")).toBe("no frame");
});
