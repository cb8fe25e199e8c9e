/**
 * Messages and documents of any content that the schemas let through, and what an impostor says with them. Pure: the random
 * choices are arguments.
 */
import type { RuntimeAlias, RuntimeDocument, RuntimeKillSwitch, ServerHello, ServerMessage } from "@flagback/schemas";
import type { SeededRandom } from "../../support/seeded-random.ts";

/** What an impostor says to a hello: another history, or the true one continued by a lie. */
export function impostorGreeting(random: SeededRandom, trueEpoch: string): ServerMessage[] {
  const epoch = random.chance(0.3) ? trueEpoch : random.hex(32);
  const revision = random.pick([0, 1, random.int(2, 50), Number.MAX_SAFE_INTEGER - 1]);
  const mark = random.hex(16);
  const hello = { ...anyHello(random), epoch, revision: random.chance(0.8) ? revision : random.int(0, 100), mark };
  const snapshot: ServerMessage = { type: "snapshot", epoch, revision, mark, documents: anyDocuments(random) };
  return random.chance(0.9) ? [hello, snapshot] : [snapshot, hello];
}

export function anyHello(random: SeededRandom): ServerHello {
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

export function anyMessage(random: SeededRandom): ServerMessage {
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
        variants: random.pick<Record<string, string | number | boolean>>([{ on: true }, { low: 1, high: "2" }]),
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
