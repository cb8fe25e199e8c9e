/**
 * Frames that no server of ours sends: broken, invented, or from a version of the protocol that is not there yet. Pure: the
 * random choices are arguments.
 */
import {
  decodeServerFrame,
  type RuntimeAlias,
  type RuntimeDocument,
  type RuntimeKillSwitch,
  type ServerHello,
  type ServerMessage,
} from "@flagback/schemas";
import type { SeededRandom } from "../../support/seeded-random.ts";

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
  const whole = Object.assign({}, ...Array.from({ length: 20 }, () => anyMessage(random)), impostorHello(random));
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

/** What an impostor says to a hello: another history, or the true one continued by a lie. */
export function impostorGreeting(random: SeededRandom, trueEpoch: string): ServerMessage[] {
  const epoch = random.chance(0.3) ? trueEpoch : random.hex(32);
  const revision = random.pick([0, 1, random.int(2, 50), Number.MAX_SAFE_INTEGER - 1]);
  const mark = random.hex(16);
  const hello = { ...impostorHello(random), epoch, revision: random.chance(0.8) ? revision : random.int(0, 100), mark };
  const snapshot: ServerMessage = { type: "snapshot", epoch, revision, mark, documents: anyDocuments(random) };
  return random.chance(0.9) ? [hello, snapshot] : [snapshot, hello];
}

function impostorHello(random: SeededRandom): ServerHello {
  return {
    type: "hello",
    epoch: random.hex(32),
    revision: random.int(0, 100),
    mark: random.hex(16),
    heartbeatMs: random.pick([0, 50, 1_000]),
    leaseMs: random.pick([0, 1, 200, 400, 1_000]),
    outcomesThrough: random.pick([0, 0, 1, 1_000_000]),
    limits: random.pick([
      { maxFrameBytes: 1_048_576, maxBatchItems: 500 },
      { maxFrameBytes: 1, maxBatchItems: 1 },
    ]),
  };
}

/** What an impostor says after that, to a lease request or by itself. */
export function impostorAnswer(random: SeededRandom, leaseId: number): ServerMessage {
  if (random.chance(0.6)) {
    const revision = random.pick([0, 1, random.int(0, 60), Number.MAX_SAFE_INTEGER]);
    // Never a later one: who guesses what is asked next grants it before we saw it asked, and only the runtime knows when.
    return { type: "lease", id: Math.max(0, leaseId - random.pick([0, 0, 0, 1])), revision };
  }
  return anyMessage(random);
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

function anyMessage(random: SeededRandom): ServerMessage {
  const revision = random.pick([0, 1, random.int(0, 60), Number.MAX_SAFE_INTEGER]);
  const mark = random.hex(16);
  switch (random.pick(["lease", "ack", "goodbye", "error", "snapshot", "delta"])) {
    case "lease":
      return { type: "lease", id: random.pick([0, Number.MAX_SAFE_INTEGER]), revision };
    case "ack":
      return {
        type: "outcomesAck",
        through: random.pick([0, 1, random.int(0, 1_000), Number.MAX_SAFE_INTEGER]),
        slowDownMs: random.pick([0, 100, 1e300]),
        rejected: [{ seq: random.int(0, 9), index: random.int(0, 9), code: "wild", message: "" }],
      };
    case "goodbye":
      return { type: "goodbye", reason: "wild", retryAfterMs: random.pick([0, 100, 1e300]), spreadMs: 0 };
    case "error":
      return {
        type: "error",
        code: random.pick(["wild", "__proto__", "forbidden"]),
        message: "x".repeat(random.int(0, 300)),
      };
    case "snapshot":
      return { type: "snapshot", epoch: random.hex(32), revision, mark, documents: anyDocuments(random) };
    default:
      return { type: "delta", from: random.int(0, 60), revision, mark, put: anyDocuments(random), delete: [] };
  }
}

/** Documents under the names that the agents read, of any content that the schema lets through. */
function anyDocuments(random: SeededRandom): RuntimeDocument[] {
  const documents: RuntimeDocument[] = [];
  if (random.chance(0.9)) documents.push(anyAlias(random));
  if (random.chance(0.9)) documents.push(anySwitch(random));
  if (random.chance(0.5)) {
    documents.push({
      kind: "flag",
      key: random.pick(["banner", "limit", "support-agent"]),
      revision: random.int(0, 99),
      definition: {
        state: random.pick(["ENABLED", "DISABLED"]),
        variants: random.pick<Record<string, string | number | boolean>>([{ on: true }, { low: 1, high: "2" }, {}]),
        defaultVariant: random.pick(["on", "low", "missing", null]),
        targeting: random.pick([{}, { fractional: [["on", -1]] }, { if: [] }, { $ref: "none" }]),
      },
    });
  }
  return documents;
}

function anyAlias(random: SeededRandom): RuntimeAlias {
  const names = ["2.3.3", "2.4.0", "9.9.9"].map((name) => `support-agent@${name}`);
  const stable = random.pick([...names, null]);
  const weight = random.pick([0, 1, 50_000, 99_999, 100_000]);
  const [first, second] = [random.pick(names), random.pick(names)];
  const known = names.filter(() => random.chance(0.7));
  const payload = () => random.pick([{ prompt: "x" }, null, 7, "text", [1]]);
  return {
    kind: "alias",
    key: "support-agent",
    revision: random.int(0, 99),
    salt: random.pick(["support-agent", "", "\u0000"]),
    allocation: random.pick([
      [
        { version: first, weight },
        { version: second, weight: 100_000 - weight },
      ],
      [{ version: first, weight: 100_000 }],
    ]),
    stable,
    versions: Object.fromEntries(known.map((name) => [name, { payload: payload(), digest: random.hex(64) }])),
    rollout: random.pick([null, { rolloutNumber: 1, candidate: random.pick(names), stage: "canary" }]),
    revoked: Object.fromEntries(
      names.filter(() => random.chance(0.2)).map((name) => [name, random.pick(["finish", "block_writes", "abort"])]),
    ),
    outcomeTimeoutMs: random.pick([1, 60_000]),
    latencyLimitsMs: random.pick([[], [1], [1e300, -1]]),
    onLeaseLapse: random.pick(["stable", "last"]),
  };
}

function anySwitch(random: SeededRandom): RuntimeKillSwitch {
  const scopes = ["*", "agent=support-agent", "tenant=acme", "agent=a,tool=b"].filter(() => random.chance(0.3));
  return {
    kind: "killSwitch",
    key: random.pick(["writes_disabled", "writes_disabled", "support-agent"]),
    revision: random.int(0, 99),
    engaged: scopes.map((scope, i) => ({ id: `${i}`, scope, reason: "wild" })),
    failSafe: { engage: random.chance(0.7), afterMs: random.pick([0, 100, 86_400_000]) },
  };
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
