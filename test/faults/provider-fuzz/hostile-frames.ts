/**
 * Frames that no server of ours sends: broken, invented, or from a version of the protocol that is not there yet. Pure: the
 * random choices are arguments.
 */
import { decodeServerFrame, type ServerMessage } from "@flagback/schemas";
import type { SeededRandom } from "../../support/seeded-random.ts";
import { anyHello, anyMessage } from "./any-message.ts";

/**
 * Times that a server may ask for and that are honoured for minutes: longer ones would only make the run wait. That they are
 * bounded is tested where they are decided.
 */
const MAX_ASKED_MS = 300;
const MAX_HEARTBEAT_MS = 1_000;
/** A longer lease would permit everything for the rest of the run, and nothing more could be found. */
const MAX_LEASE_MS = 1_000;

const WILD_NUMBERS = [-1, 0, 0.5, 1, 49, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER, 1e308, "1", null, [], {}] as const;

/** The frame with something about it changed. It may still be valid, and may even mean the same. */
export function mutated(text: string, random: SeededRandom): string {
  const at = random.int(0, text.length);
  const to = random.int(at, Math.min(text.length, at + 12));
  switch (random.pick(["cut", "flip", "remove", "insert", "field", "number", "nest", "grow", "rename"])) {
    case "cut":
      return text.slice(0, at);
    case "flip":
      return `${text.slice(0, at)}${String.fromCharCode(random.int(0, 0x2ff))}${text.slice(at + 1)}`;
    case "remove":
      return text.slice(0, at) + text.slice(to);
    case "insert":
      return (
        text.slice(0, at) + random.pick(["null", "\u0000", "{", "]", '"', "\ud800", "1e999", ","]) + text.slice(at)
      );
    case "nest":
      return text.replace(/:[^:]*$/, `:${"[".repeat(random.pick([10, 5_000, 200_000]))}`);
    case "field":
      return edited(text, random, (object, key) => delete object[key]);
    case "number":
      return edited(text, random, (object, key) => {
        object[key] = random.pick(WILD_NUMBERS);
      });
    case "rename":
      return edited(text, random, (object, key) => {
        object[`${key}2`] = object[key];
        delete object[key];
      });
    case "grow":
      return newer(text, random);
    default:
      return text;
  }
}

/** As a later protocol would send it: fields that nobody knows yet, which must be ignored. The rest means the same. */
export function newer(text: string, random: SeededRandom): string {
  const message = messageOf(text);
  if (!message) return text;
  const documents = message.type === "snapshot" ? message.documents : message.type === "delta" ? message.put : [];
  // Inside of them are payloads and definitions, where a field more means something else.
  const extended = random.pick([message, ...documents]);
  Object.assign(extended, { [`new${random.int(0, 9)}`]: random.pick([1, "text", null, [{}], { deeper: [true] }]) });
  return JSON.stringify(message);
}

/** The same under a mark of its own, so that nobody continues from it who holds the true history. */
export function remarked(text: string, random: SeededRandom): string {
  return text.replace(/"mark":"[0-9a-f]{16}"/, `"mark":"${random.hex(16)}"`);
}

/** A frame of its own that a runtime must bear: nonsense, an unknown type, or a message at the wrong time. */
export function invented(random: SeededRandom): string {
  switch (random.pick(["unknown", "nonsense", "message", "scrambled"])) {
    case "unknown":
      return JSON.stringify({ type: random.pick(["shadow", "delta2", "", "__proto__"]), revision: random.int(0, 9) });
    case "nonsense":
      return random.pick(["", "null", "[]", '"hello"', "{", "\u0000", "[".repeat(100_000), '{"type":{}}', "0x12"]);
    case "scrambled":
      return scrambled(random);
    default:
      return JSON.stringify(anyMessage(random));
  }
}

/** Some fields of every message there is, each right or wrong, under some message's type. */
function scrambled(random: SeededRandom): string {
  const whole = Object.assign({}, ...Array.from({ length: 20 }, () => anyMessage(random)), anyHello(random));
  const fields = Object.entries(whole).filter(() => random.chance(0.8));
  const wild = fields.map(([name, value]) => [name, random.chance(0.2) ? random.pick(WILD_NUMBERS) : value]);
  const type = random.pick(["hello", "snapshot", "delta", "lease", "outcomesAck", "goodbye", "error", "new"]);
  return JSON.stringify({ ...Object.fromEntries(wild), type });
}

/** Bytes that are no WebSocket frame of a server, or one that RFC 6455 forbids. */
export function brokenBytes(random: SeededRandom): Buffer {
  return Buffer.from(
    random.pick([
      // Reserved opcode; reserved bit; masked, which only clients do; fragmented control frame.
      [0x83, 0x00],
      [0xc1, 0x01, 0x61],
      [0x81, 0x81, 1, 2, 3, 4, 0x61],
      [0x09, 0x00],
      // 2^63 bytes to come; text that is no UTF-8; a close with a code that must not be sent; half a frame header.
      [0x81, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0],
      [0x81, 0x02, 0xc3, 0x28],
      [0x88, 0x02, 0x03, 0xed],
      [0x81, 0x7e, 0x00],
      Array.from({ length: random.int(1, 64) }, () => random.int(0, 255)),
    ]),
  );
}

/** The same message where there is nothing to tame. */
function withinLimits(message: ServerMessage): ServerMessage {
  switch (message.type) {
    case "hello": {
      const { heartbeatMs, leaseMs } = message;
      if (heartbeatMs <= MAX_HEARTBEAT_MS && leaseMs <= MAX_LEASE_MS) return message;
      return {
        ...message,
        heartbeatMs: Math.min(MAX_HEARTBEAT_MS, heartbeatMs),
        leaseMs: Math.min(MAX_LEASE_MS, leaseMs),
      };
    }
    case "goodbye": {
      const { retryAfterMs, spreadMs } = message;
      return {
        ...message,
        retryAfterMs: Math.min(MAX_ASKED_MS, retryAfterMs),
        spreadMs: Math.min(MAX_ASKED_MS, spreadMs),
      };
    }
    case "outcomesAck":
      return { ...message, slowDownMs: Math.min(MAX_ASKED_MS, message.slowDownMs ?? 0) };
    case "snapshot":
    case "delta":
    case "lease":
    case "error":
      return message;
  }
}

/** The frame with times that don't make the run wait, where it is a message. */
export function tamed(text: string): string {
  const message = messageOf(text);
  const limited = message && withinLimits(message);
  return limited && limited !== message ? JSON.stringify(limited) : text;
}

/** Whether a runtime may hold something else after this frame. */
export function carriesState(text: string): boolean {
  const type = messageOf(text)?.type;
  return type === "snapshot" || type === "delta";
}

/** The message; null for what is none, or nested deeper than the stack that would decode it. */
function messageOf(text: string): ServerMessage | null {
  try {
    const decoded = decodeServerFrame(text);
    return decoded.kind === "message" ? decoded.message : null;
  } catch {
    return null;
  }
}

type Edit = (object: Record<string, unknown>, key: string) => void;

/** The frame with one of its objects edited, however deep inside; as it is where it is no JSON object. */
function edited(text: string, random: SeededRandom, edit: Edit): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return text;
  }
  const objects = objectsIn(value);
  if (objects.length === 0) return text;
  const object = random.pick(objects);
  const keys = Object.keys(object);
  edit(object, keys.length > 0 ? random.pick(keys) : "added");
  return JSON.stringify(value);
}

function objectsIn(value: unknown): Record<string, unknown>[] {
  if (typeof value !== "object" || value === null) return [];
  const inside = Object.values(value).flatMap(objectsIn);
  // An array's members are reached through it; the array itself has no fields.
  return Array.isArray(value) ? inside : [value as Record<string, unknown>, ...inside];
}
