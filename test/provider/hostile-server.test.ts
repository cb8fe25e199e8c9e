/**
 * A server that sends what no decoder should have to bear: nothing of it may reach the agent, and the provider comes back.
 * What is broken at random is in test/faults/provider-fuzz.
 */
import { FlagbackProvider } from "@flagback/provider";
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
