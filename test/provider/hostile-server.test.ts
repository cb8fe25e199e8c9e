/** A server that sends anything: nothing of it may reach the agent, and the provider comes back. */
import { FlagbackProvider } from "@flagback/provider";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { alias, flag, killSwitch, STABLE } from "./documents.ts";
import { FakeServer, TOKEN } from "./fake-server.ts";

let server: FakeServer;
let provider: FlagbackProvider;
const uncaught = vi.fn();

beforeEach(async () => {
  process.on("uncaughtException", uncaught);
  process.on("unhandledRejection", uncaught);
  server = await new FakeServer().start();
  server.hold(alias(), killSwitch());
  // Jitter 0: it comes back at once.
  provider = new FlagbackProvider({
    url: server.url,
    token: TOKEN,
    logger: { warn() {}, error() {} },
    random: () => 0,
  });
  await provider.initialize();
});

afterEach(async () => {
  await provider.onClose();
  await server.stop();
  process.off("uncaughtException", uncaught);
  process.off("unhandledRejection", uncaught);
});

/** The provider takes in a change after the frame, over the same connection or over its next. */
async function survives(frame: string): Promise<void> {
  server.broadcastText(frame);
  server.put(flag("tick", {}));
  const { revision } = server;
  await server.until(() => server.messages("applied").some((message) => message.revision === revision));
  expect(uncaught).not.toHaveBeenCalled();
  expect(provider.version("support-agent")).toBe(STABLE);
}

const nested = (depth: number, open: string, close: string) => `${open.repeat(depth)}0${close.repeat(depth)}`;
const put = (document: object, inner: string) =>
  JSON.stringify({ type: "delta", from: 1, revision: 2, mark: "0".repeat(16), put: [document], delete: [] }).replace(
    '"HERE"',
    inner,
  );

test.each([
  ["no frame", nested(200_000, "[", "]")],
  ["an unknown field", `{"type":"error","code":"x","message":"y","z":${nested(200_000, "[", "]")}}`],
  [
    "a payload",
    put(alias({ versions: { [STABLE]: { payload: "HERE", digest: "a".repeat(64) } } }), nested(100_000, "[", "]")),
  ],
  ["a flag's targeting", put(flag("deep", { targeting: "HERE" as never }), nested(100_000, '{"!":', "}"))],
  ["a flag's variant", put(flag("deep", { variants: { on: "HERE" } }), nested(5_000, '{"a":', "}"))],
])("survives nesting that no stack holds, in %s", async (_where, frame) => {
  await survives(frame);
});

test("survives whatever text comes as a frame", async () => {
  const revision = fc.oneof(fc.nat(5), fc.constant(Number.MAX_SAFE_INTEGER), fc.double());
  const hex = (length: number) => fc.constantFrom("e".repeat(length), "0".repeat(length));
  const milliseconds = fc.oneof(fc.nat(20), fc.constant(-1));
  const document = fc.constantFrom<object>(alias(), killSwitch("*"), flag("banner", {}), { kind: "new" });
  const field: Record<string, fc.Arbitrary<unknown>> = {
    epoch: hex(32),
    revision,
    from: revision,
    mark: hex(16),
    id: revision,
    through: revision,
    outcomesThrough: revision,
    slowDownMs: fc.double(),
    heartbeatMs: fc.double({ min: 5_000 }),
    leaseMs: fc.double({ min: 5_000 }),
    retryAfterMs: milliseconds,
    spreadMs: milliseconds,
    reason: fc.string(),
    code: fc.string(),
    message: fc.string({ unit: "grapheme" }),
    limits: fc.record({ maxFrameBytes: fc.nat(), maxBatchItems: fc.nat() }),
    documents: fc.array(document),
    put: fc.array(document),
    delete: fc.array(fc.record({ kind: fc.constantFrom("alias", "flag"), key: fc.string() })),
    rejected: fc.array(fc.record({ seq: fc.nat(), index: fc.nat(), code: fc.string(), message: fc.string() })),
  };
  const type = fc.constantFrom("hello", "snapshot", "delta", "lease", "outcomesAck", "goodbye", "error", "new");
  const message = fc.record({ type, ...field }, { requiredKeys: ["type"] }).map((value) => JSON.stringify(value));
  const whole = fc.record({ type, ...field }).map((value) => JSON.stringify(value));
  const broken = fc.tuple(whole, fc.nat(400)).map(([text, at]) => text.slice(0, at));
  const frames = fc.oneof(message, whole, broken, fc.json(), fc.string({ unit: "binary" }));
  await fc.assert(fc.asyncProperty(frames, survives), { numRuns: 150 });
});

test("a frame whose handling fails inside is logged, costs a reconnect, and reaches nobody", async () => {
  const errors: string[] = [];
  let isBroken = false;
  const clock = {
    wallMs: () => Date.now(),
    monotonicMs: () => {
      if (isBroken) {
        isBroken = false;
        throw new RangeError("Maximum call stack size exceeded");
      }
      return performance.now();
    },
  };
  await provider.onClose();
  const logger = { warn() {}, error: (message: string) => errors.push(message) };
  provider = new FlagbackProvider({ url: server.url, token: TOKEN, logger, clock, random: () => 0 });
  await provider.initialize();
  isBroken = true;
  await survives('{"type":"error","code":"x","message":"y"}');
  expect(errors).toEqual([expect.stringMatching(/frame could not be handled.*Maximum call stack/)]);
  expect(server.messages("hello").at(-1)).not.toHaveProperty("resume");
});
