/**
 * Outcomes of real runs on their way to the real server: through cuts, kills and outages, and at the end.
 */
import { FlagbackProvider, type FlagbackProviderOptions, type Run, withRun } from "@flagback/provider";
import { ProviderEvents } from "@openfeature/server-sdk";
import { expect, onTestFinished, test } from "vitest";
import { nextEvent } from "../provider/harness.ts";
import { NetworkProxy } from "../support/network-proxy.ts";
import { startRollout } from "../support/rollout.ts";
import { eventually, type TestServer, testFolder, testServer } from "../support/server.ts";
import { serverProcess } from "../support/server-process.ts";

const AGENT = "support-agent";
/** Nothing that fails here is rolled back. */
const LENIENT = { guardrails: [{ metric: "error_rate", max: 0.99 }] };
const KILLS = 3;
const RUNS = 40;

type Call = TestServer["call"];

test("runs that report through cut connections and kills of the server are counted once each, also those open meanwhile", async () => {
  const dataDir = await testFolder();
  let server = await serverProcess(dataDir);
  const { adminToken } = server;
  const call = callOf(() => server.url, adminToken);
  await startRollout(call, LENIENT);
  const proxy = await proxyTo(() => server.url);
  const provider = await providerOf(proxy.url, await runtimeToken(call));

  let runs = 0;
  const report = () => withRun({ provider, agent: AGENT, userId: `user-${++runs}` }, (run) => run.pin(AGENT, "none"));
  for (let kill = 0; kill < KILLS; kill++) {
    const open = openRun(provider, `open-${kill}`);
    runs += 1;
    for (let i = 0; i < RUNS; i++) {
      await report();
      // In the middle of a batch, and in the middle of its acknowledgement.
      if (i % 10 === 3) proxy.cutAfter(100, "toServer");
      if (i % 10 === 8) proxy.cutAfter(20, "toClient");
    }
    await server.kill();
    await report();
    server = await serverProcess(dataDir);
    await report();
    await open.end();
  }

  await eventually("everything is acknowledged", () => provider.outcomeStatistics.acknowledged === runs);
  expect(provider.outcomeStatistics).toMatchObject({ pending: 0, rejected: 0, dropped: { full: 0, batch_refused: 0 } });
  expect(await totals(call)).toEqual({ assigned: runs, settled: runs, missing: 0, failures: 0 });
}, 120_000);

test("a full outbox drops the oldest and counts them, and the server waits for none of them", async () => {
  const { provider, call, goAway, comeBack } = await withProxy({ maxOutcomes: 3 });
  await goAway();
  // The five oldest say that they failed.
  for (let i = 0; i < 8; i++) {
    await withRun({ provider, agent: AGENT }, async (run) => {
      await run.pin(AGENT, "none");
      run.report({ status: i < 5 ? "failure" : "success" });
    });
  }
  expect(provider.outcomeStatistics).toMatchObject({ pending: 3, dropped: { full: 5 } });
  await comeBack();
  await eventually("the rest is acknowledged", () => provider.outcomeStatistics.acknowledged === 3);
  expect(await totals(call)).toEqual({ assigned: 3, settled: 3, missing: 0, failures: 0 });
});

test("an outbox is bounded in bytes as well", async () => {
  const { provider, goAway } = await withProxy({ maxOutcomeBytes: 2_000 });
  await goAway();
  for (let i = 0; i < 20; i++) {
    await withRun({ provider, agent: AGENT }, async (run) => {
      await run.pin(AGENT, "none");
      run.report({ status: "success", attributes: { ticket: "x".repeat(100) } });
      expect(provider.outcomeStatistics.pendingBytes).toBeLessThanOrEqual(2_000);
    });
  }
  const { pending, dropped } = provider.outcomeStatistics;
  expect(pending).toBeGreaterThan(1);
  expect(pending + dropped.full).toBe(20);
});

test("a close reports what is open as cancelled and returns when the server has everything", async () => {
  const { provider, call } = await withProxy();
  const open = openRun(provider, "open");
  await eventually("the open run is announced", async () => (await totals(call)).assigned === 1);
  for (let i = 0; i < 5; i++) await withRun({ provider, agent: AGENT }, (run) => run.pin(AGENT, "none"));
  await provider.onClose();
  expect(await totals(call)).toEqual({ assigned: 6, settled: 6, missing: 0, failures: 0 });
  await open.end();
});

/** A run that has pinned its version and goes on until it is told to end. */
function openRun(provider: FlagbackProvider, userId: string) {
  let finish: () => void = () => undefined;
  const told = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const ended = withRun({ provider, agent: AGENT, userId }, async (run: Run) => {
    await run.pin(AGENT, "none");
    await told;
  });
  return {
    end: async () => {
      finish();
      await ended;
    },
  };
}

/** A server that can go away and come back at the same address, with a rollout and a provider. */
async function withProxy(options: Partial<FlagbackProviderOptions> = {}) {
  let server = await testServer();
  const call: Call = (...args) => server.call(...args);
  await startRollout(call, LENIENT);
  const proxy = await proxyTo(() => server.url);
  const provider = await providerOf(proxy.url, await runtimeToken(call), options);
  return {
    provider,
    call,
    goAway: async () => {
      const stale = nextEvent(provider, ProviderEvents.Stale);
      await server.close();
      await stale;
    },
    comeBack: async () => {
      server = await server.restart();
    },
  };
}

async function proxyTo(url: () => string): Promise<NetworkProxy> {
  const proxy = await NetworkProxy.start(url);
  onTestFinished(() => proxy.close());
  return proxy;
}

async function providerOf(url: string, token: string, options: Partial<FlagbackProviderOptions> = {}) {
  const logger = { warn: () => undefined, error: () => undefined };
  const provider = new FlagbackProvider({ url, token, logger, random: () => 0.1, ...options });
  onTestFinished(() => provider.onClose());
  await provider.initialize();
  return provider;
}

async function runtimeToken(call: Call): Promise<string> {
  return (await call<{ secret: string }>("POST", "/v1/tokens", { role: "runtime", name: "agents" })).body.secret;
}

function callOf(url: () => string, token = ""): Call {
  return async <Body>(method: string, path: string, body?: unknown) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const answer = await fetch(url() + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Body };
  };
}

/** Over both versions. */
async function totals(call: Call) {
  type Counts = Record<"assigned" | "settled" | "missing" | "failures", number>;
  const { body } = await call<{ traffic: Counts[] }>("GET", `/v1/aliases/${AGENT}/rollout`);
  const sum = (field: keyof Counts) => body.traffic.reduce((total, each) => total + each[field], 0);
  return { assigned: sum("assigned"), settled: sum("settled"), missing: sum("missing"), failures: sum("failures") };
}
