/**
 * The stream is blocked and HTTP is open, as behind a proxy that knows no WebSocket: the poll path takes over.
 */
import { FlagbackProvider } from "@flagback/provider";
import type { Runtime } from "@flagback/schemas";
import { expect, onTestFinished, test } from "vitest";
import { HttpProxy } from "../support/http-proxy.ts";
import { eventually, type TestServer, testServer } from "../support/server.ts";

/** Still live where the machine stands still for a second between two polls. */
const LEASE_MS = 2_500;

test("without a stream the provider is ready by polling, follows changes, and goes back to the stream when it can", async () => {
  const { server, proxy, provider, log } = await blocked();

  await provider.initialize();
  expect(provider.writesAllowed({ agent: "a" })).toBe(true);
  expect(await answerOf(provider)).toMatchObject({ value: false, reason: "STATIC" });

  const { revision } = (await engage(server)).body;
  await eventually("the poll brought the switch", async () => provider.revision === revision);
  expect(provider.writesAllowed({ agent: "a" })).toBe(false);
  expect(await answerOf(provider)).toMatchObject({ value: true, reason: "STATIC" });
  // One line says that it polls, one that the stream is refused.
  expect(log.map((line) => line.slice(0, 40)).sort()).toEqual([
    "the server answers 426 instead of openin",
    "there is no stream to the server, but HT",
  ]);

  expect(await runtimes(server)).toMatchObject([{ instance: provider.instance, path: "poll" }]);
  proxy.refusesUpgradesWith = null;
  await eventually("the stream is back", async () =>
    (await runtimes(server)).some((runtime) => runtime.path === undefined),
  );
  await eventually("no poll comes any more", async () => {
    proxy.takePaths();
    await engage(server);
    const held = provider.revision;
    const { body } = await server.call<{ revision: number }>("POST", "/v1/kill-switches/writes_disabled/release", {
      reason: "test",
    });
    await eventually("the stream brought it", async () => provider.revision === body.revision && held !== null);
    return proxy.takePaths().length === 0;
  });
});

test("a poll's cursor acknowledges what was applied, also of a runtime whose stream was cut", async () => {
  const { server, proxy, provider } = await blocked({ from: "open" });
  await provider.initialize();
  await eventually("it streams", async () => (await runtimes(server)).length === 1);

  proxy.refusesUpgradesWith = 426;
  proxy.freezeUpgrades();
  const { revision } = (await engage(server)).body;
  const spread = () => server.call("GET", `/v1/propagation/${revision}`);
  expect((await spread()).body).toMatchObject({ runtimes: 1, acknowledged: 0 });
  proxy.cutUpgrades();

  await eventually("the server knows that it has it", async () => (await spread()).body.acknowledged === 1);
  expect(provider.writesAllowed({ agent: "a" })).toBe(false);
});

test("an answer that something on the way has stored gives no lease: the provider stops writes when the real one lapses", async () => {
  const { proxy, provider } = await blocked();
  await provider.initialize();
  expect(provider.writesAllowed({ agent: "a" })).toBe(true);

  proxy.replays = true;

  await eventually("the lease lapsed", async () => !provider.writesAllowed({ agent: "a" }));
  expect(await answerOf(provider)).toMatchObject({ value: true, reason: "STALE" });
  proxy.replays = false;
  await eventually("real answers give a lease again", async () => provider.writesAllowed({ agent: "a" }));
});

async function blocked({ from = "blocked" }: { from?: "blocked" | "open" } = {}) {
  const server = await testServer({ leaseMs: LEASE_MS });
  const proxy = await HttpProxy.start(server.url);
  if (from === "blocked") proxy.refusesUpgradesWith = 426;
  const log: string[] = [];
  const provider = new FlagbackProvider({
    url: proxy.url,
    token: await server.token("runtime"),
    logger: { warn: (line) => log.push(line), error: (line) => log.push(line) },
    // Early in every range of jitter, and not at its very start, where attempts would follow each other without a pause.
    random: () => 0.05,
  });
  onTestFinished(() => provider.onClose());
  return { server, proxy, provider, log };
}

function answerOf(provider: FlagbackProvider) {
  return provider.resolveBooleanEvaluation("writes_disabled", false, { agent: "a" });
}

function engage(server: TestServer) {
  return server.call<{ revision: number }>("POST", "/v1/kill-switches/writes_disabled/engage", { reason: "test" });
}

async function runtimes(server: TestServer): Promise<readonly Runtime[]> {
  return (await server.call<{ runtimes: Runtime[] }>("GET", "/v1/runtimes")).body.runtimes;
}
