/**
 * The real provider with the real server, where an agent or an application does what it should not.
 */
import { FlagbackProvider, withRun } from "@flagback/provider";
import { OpenFeature } from "@openfeature/server-sdk";
import { expect, onTestFinished, test } from "vitest";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";

const QUIET = { warn: () => undefined, error: () => undefined };

test.each([
  ["every run has the same id, as a retried job's runs have", () => "job-1"],
  ["every run id is too long", (run: number) => `${run}`.padEnd(129, "x")],
])("runs that all succeed are all settled, none is missing and nothing is rolled back when %s", async (_what, idOf) => {
  const server = await exposingServer();
  const provider = await providerOf(server);
  await provider.initialize();
  for (let run = 0; run < 12; run++) {
    await withRun({ provider, agent: "support-agent", userId: `user-${run}`, runId: idOf(run) }, (current) =>
      current.pin("support-agent", "none"),
    );
  }
  const rollout = await eventually("all twelve are settled", async () => {
    const { body } = await server.call<Rollout>("GET", "/v1/aliases/support-agent/rollout");
    return body.traffic.reduce((sum, { settled }) => sum + settled, 0) === 12 && body;
  });
  // What is settled can't be missing later.
  for (const { assigned, settled, missing } of rollout.traffic) expect([settled, missing]).toEqual([assigned, 0]);
  expect(rollout.state).toBe("exposing");
});

test("a provider that is initialised again while it closes follows the server", async () => {
  const server = await exposingServer();
  const provider = await providerOf(server);
  await provider.initialize();
  await withRun({ provider, agent: "support-agent", userId: "u" }, (run) => run.pin("support-agent", "none"));
  const closing = provider.onClose();
  await provider.initialize();
  await closing;
  await followsTheServer(provider, server);
});

test("a provider that leaves an OpenFeature domain and comes back follows the server", async () => {
  const server = await exposingServer();
  const provider = await providerOf(server);
  const other = await providerOf(server);
  onTestFinished(() => OpenFeature.close());
  await OpenFeature.setProviderAndWait("comes-back", provider);
  const client = OpenFeature.getClient("comes-back");
  await withRun({ client, agent: "support-agent", userId: "u" }, (run) => run.pin("support-agent", "none"));
  await OpenFeature.setProviderAndWait("comes-back", other);
  await OpenFeature.setProviderAndWait("comes-back", provider);
  await followsTheServer(provider, server);
});

interface Rollout {
  readonly state: string;
  readonly traffic: readonly { readonly assigned: number; readonly settled: number; readonly missing: number }[];
}

/** A server whose candidate has nearly all traffic, and where a run without a report is missing after a second. */
async function exposingServer(): Promise<TestServer> {
  const server = await testServer();
  await server.call(
    "POST",
    "/v1/apply",
    SUPPORT_AGENT.replace("percent: 50", "percent: 99").replace("stages:", "outcomeTimeout: 1s\n      stages:"),
  );
  const started = await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: "support-agent@2.4.0" });
  expect(started.status).toBe(200);
  return server;
}

async function providerOf(server: TestServer): Promise<FlagbackProvider> {
  const provider = new FlagbackProvider({ url: server.url, token: await server.token("runtime"), logger: QUIET });
  onTestFinished(() => provider.onClose());
  return provider;
}

async function followsTheServer(provider: FlagbackProvider, server: TestServer): Promise<void> {
  const { body } = await server.call<{ revision: number }>("POST", "/v1/stop", { reason: "rehearsal" });
  await eventually("the provider has the stop", () => provider.revision === body.revision);
  expect(provider.writesAllowed({ agent: "support-agent" })).toBe(false);
}
