/** The provider's life with a real server: an event loop that stands still, and an end in the middle of a beginning. */

import type { AddressInfo } from "node:net";
import { createServer, type Socket } from "node:net";
import { FlagbackProvider, type FlagbackProviderOptions } from "@flagback/provider";
import { OpenFeature, ProviderEvents, ProviderStatus } from "@openfeature/server-sdk";
import { expect, onTestFinished, test } from "vitest";
import { HttpProxy } from "../support/http-proxy.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

const LEASE_MS = 600;
const CONTEXT = { agent: "support-agent" };

async function providerOf(server: TestServer, over: Partial<FlagbackProviderOptions> = {}): Promise<FlagbackProvider> {
  const logger = { warn: () => undefined, error: () => undefined };
  const provider = new FlagbackProvider({ url: server.url, token: await server.token("runtime"), logger, ...over });
  onTestFinished(() => provider.onClose());
  return provider;
}

/** The whole thread stands still: no timer, no socket, as in a long computation or a stopped process. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test.each(["stream", "poll"] as const)(
  "the first read after the event loop stood still for a lease is engaged and serves stable, before anything else can run (%s)",
  async (way) => {
    const server = await testServer({ leaseMs: LEASE_MS });
    await server.call("POST", "/v1/apply", SUPPORT_AGENT);
    await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: "support-agent@2.4.0" });
    const proxy = await HttpProxy.start(server.url);
    if (way === "poll") proxy.refusesUpgradesWith = 426;
    const provider = await providerOf(server, { url: proxy.url, random: () => 0.05 });
    await provider.initialize();
    const keys = Array.from({ length: 100 }, (_, i) => `user-${i}`);
    const candidateKey = await eventually("a key gets the candidate", () =>
      keys.find((key) => provider.version("support-agent", key) === "support-agent@2.4.0"),
    );
    await eventually("writes are allowed", () => provider.writesAllowed(CONTEXT));

    standStill(LEASE_MS + 1);

    expect(provider.writesAllowed(CONTEXT)).toBe(false);
    expect(provider.version("support-agent", candidateKey)).toBe("support-agent@2.3.3");
    const [read, served] = [
      provider.resolveBooleanEvaluation("writes_disabled", false, CONTEXT),
      provider.resolveStringEvaluation("support-agent", "none", { targetingKey: candidateKey }),
    ];
    expect(await read).toMatchObject({ value: true, reason: "STALE" });
    expect(await served).toMatchObject({ value: "support-agent@2.3.3", reason: "STALE" });
    await eventually("the server is heard again", () => provider.writesAllowed(CONTEXT));
    await eventually(
      "and the candidate is served",
      () => provider.version("support-agent", candidateKey) === "support-agent@2.4.0",
    );
  },
);

test("a cut of the stream is one STALE and one READY event, and answers stay through it", async () => {
  const server = await testServer();
  const proxy = await HttpProxy.start(server.url);
  const provider = await providerOf(server, { url: proxy.url });
  const events: string[] = [];
  const reads: unknown[] = [];
  onTestFinished(() => OpenFeature.close());
  await OpenFeature.setProviderAndWait("cut", provider);
  const client = OpenFeature.getClient("cut");
  for (const event of [ProviderEvents.Ready, ProviderEvents.Stale, ProviderEvents.Error]) {
    provider.events.addHandler(event, async () => {
      events.push(event);
      reads.push(await client.getBooleanDetails("writes_disabled", true, CONTEXT));
    });
  }
  const cuts = [1, 2, 3];
  for (const cut of cuts) {
    proxy.cutUpgrades();
    await eventually("it is STALE, and READY again", () => reads.length === 2 * cut);
  }
  expect(events).toEqual(cuts.flatMap(() => [ProviderEvents.Stale, ProviderEvents.Ready]));
  // The lease outlives so short a cut.
  for (const read of reads) expect(read).toMatchObject({ value: false, reason: "STATIC" });
  expect(client.providerStatus).toBe(ProviderStatus.READY);
});

test("initialize is bounded by its time where something takes the connection and says nothing, and a close ends it before", async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => {
    sockets.add(socket);
    socket.resume();
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => new Promise((resolve) => silent.close(() => resolve())));
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const logger = { warn: () => undefined, error: () => undefined };
  const provider = new FlagbackProvider({ url, token: "fb_runtime_x_y", logger, initTimeoutMs: 50 });
  await expect(provider.initialize()).rejects.toMatchObject({ code: "unreachable" });
  await eventually("it goes on trying", () => sockets.size > 0);
  await provider.onClose();

  const patient = new FlagbackProvider({ url, token: "fb_runtime_x_y", logger, initTimeoutMs: 60_000 });
  const begun = expect(patient.initialize()).rejects.toMatchObject({ message: expect.stringContaining("closed") });
  await Promise.all([patient.onClose(), patient.onClose(), begun]);
  await eventually("no socket is left", () => sockets.size === 0);
});

test("a close while it polls leaves no request behind, and a later initialize is up again", async () => {
  const server = await testServer({ leaseMs: LEASE_MS });
  const proxy = await HttpProxy.start(server.url);
  proxy.refusesUpgradesWith = 426;
  const provider = await providerOf(server, { url: proxy.url, random: () => 0.05 });
  await provider.initialize();
  await provider.onClose();
  proxy.takePaths();
  await eventually("what it held has lapsed", () => !provider.writesAllowed(CONTEXT));
  expect(proxy.takePaths()).toEqual([]);
  await provider.initialize();
  await eventually("it polls again", () => provider.writesAllowed(CONTEXT));
});
