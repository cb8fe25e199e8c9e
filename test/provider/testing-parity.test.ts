/**
 * The same scenario with the provider for tests and with the real provider on a real server: an agent must not notice which
 * of them it runs on.
 */
import { type Clock, FlagbackProvider, type ProviderLogger, type Run, withRun } from "@flagback/provider";
import { type TestFlags, TestProvider } from "@flagback/provider/testing";
import type { FlagDefinition } from "@flagback/schemas";
import { type EvaluationContext, OpenFeature, type Provider } from "@openfeature/server-sdk";
import { startTestServer, type TestConfig } from "flagback/testing";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "../support/server.ts";
import { alias, killSwitch } from "./documents.ts";
import { FakeServer, TOKEN } from "./fake-server.ts";

const STABLE = "support-agent@2.3.3";
const CANDIDATE = "support-agent@2.4.0";
const PAYLOADS = { [STABLE]: { prompt: "old" }, [CANDIDATE]: { prompt: "new", tools: ["refund"] } };
const QUIET: ProviderLogger = { warn() {}, error() {} };

const DEFINITIONS: Record<string, FlagDefinition> = {
  "beta-tools": {
    state: "ENABLED",
    variants: { on: true, off: false },
    defaultVariant: "off",
    targeting: { if: [{ "===": [{ var: "tenant" }, "acme"] }, "on"] },
  },
  "retired-flag": { state: "DISABLED", variants: { a: 1 }, defaultVariant: "a" },
};
const VALUES = { greeting: "Hi", "max-steps": 4, tone: { warmth: 1 }, "dark-mode": false };

const FLAGS: TestFlags = {
  aliases: {
    "support-agent": { stable: STABLE, candidate: CANDIDATE, percent: 50, payloads: PAYLOADS },
    planner: "planner@1",
  },
  killSwitches: ["refunds_disabled"],
  flags: VALUES,
  definitions: DEFINITIONS,
};

/** The same for a server; the rollout is started after it. */
const CONFIG: TestConfig = {
  versions: Object.entries(PAYLOADS).map(([id, payload]) => ({ id, payload })),
  aliases: {
    "support-agent": {
      stable: STABLE,
      candidates: [
        { id: STABLE, weight: 100 },
        { id: CANDIDATE, weight: 0 },
      ],
      policy: {
        guardrails: [{ metric: "error_rate", max: 0.05 }],
        stages: [
          { name: "canary", percent: 50 },
          { name: "full", percent: 100 },
        ],
      },
    },
    planner: { candidates: [{ id: "planner@1", weight: 100 }] },
  },
  killSwitches: { refunds_disabled: { failSafe: { engage: true, afterMs: 0 } } },
  flags: {
    ...Object.fromEntries(
      Object.entries(VALUES).map(([key, value]) => [
        key,
        { state: "ENABLED", variants: { always: value }, defaultVariant: "always" } satisfies FlagDefinition,
      ]),
    ),
    ...DEFINITIONS,
  },
};

/** One of the two, and what a test does to it. Each change is there when its promise resolves. */
interface World {
  readonly provider: Provider & (TestProvider | FlagbackProvider);
  engage(key: string, scope?: string): Promise<void>;
  release(key: string, scope?: string): Promise<void>;
  rollBack(alias: string): Promise<void>;
  loseServer(): Promise<void>;
}

async function inMemory(): Promise<World> {
  const provider = new TestProvider(FLAGS, { logger: QUIET });
  return {
    provider,
    engage: async (key, scope) => provider.engage(key, scope),
    release: async (key, scope) => provider.release(key, scope),
    rollBack: async (name) => provider.rollBack(name),
    loseServer: async () => provider.disconnect(),
  };
}

async function onServer(): Promise<World> {
  const server = await startTestServer({ config: CONFIG });
  onTestFinished(() => server.close());
  const { api } = server;
  await api.startRollout("support-agent", { candidate: CANDIDATE, stage: "canary", reason: "parity" });
  // The lease lapses when the test says so, not when the machine is slow.
  let lostMs = 0;
  const clock: Clock = { monotonicMs: () => performance.now() + lostMs, wallMs: () => Date.now() + lostMs };
  const provider = new FlagbackProvider({ url: server.url, token: server.tokens.runtime, logger: QUIET, clock });
  const applied = async (change: Promise<{ readonly revision: number }>) => {
    const { revision } = await change;
    await eventually(`revision ${revision} is here`, () => (provider.revision ?? 0) >= revision);
  };
  return {
    provider,
    engage: (key, scope = "*") => applied(api.engage(key, { scope, reason: "parity" })),
    release: (key, scope = "*") => applied(api.release(key, { scope, reason: "parity" })),
    rollBack: (name) => applied(api.rollback(name, "parity")),
    loseServer: async () => {
      await server.close();
      lostMs = 3_600_000;
    },
  };
}

const CONTEXTS = [
  undefined,
  {},
  { agent: "support-agent" },
  { agent: "planner" },
  { agent: "planner", tenant: "acme" },
  { agent: 7, tenant: { deep: true } },
];

/** Everything that an agent can read. Revisions count other things, so they are left out. */
async function answers({ provider }: World, domain: string) {
  const client = OpenFeature.getClient(domain);
  const contexts: EvaluationContext[] = [
    ...Array.from({ length: 40 }, (_, i) => ({ targetingKey: `user-${i}`, tenant: i % 2 === 0 ? "acme" : "other" })),
    {},
    { targetingKey: "" },
  ];
  const keys = ["support-agent", "planner", "writes_disabled", "refunds_disabled", "nothing"];
  const read = [...keys, ...Object.keys(VALUES), ...Object.keys(DEFINITIONS)];
  const details = await Promise.all(
    contexts.flatMap((context) =>
      read.flatMap((key) => [
        client.getBooleanDetails(key, true, context),
        client.getStringDetails(key, "fallback", context),
        client.getNumberDetails(key, -1, context),
        client.getObjectDetails(key, { fallback: true }, context),
      ]),
    ),
  );
  return {
    details: details.map(({ flagMetadata: { revision, ...flagMetadata }, ...rest }) => ({ ...rest, flagMetadata })),
    versions: contexts.flatMap(({ targetingKey }) =>
      ["support-agent", "planner", "nothing"].map((name) => provider.version(name, targetingKey)),
    ),
    writesAllowed: CONTEXTS.map((context) => provider.writesAllowed(context)),
  };
}

/** What one run of an agent sees and says. */
function seen(run: Run) {
  return {
    mayWrite: run.writesAllowed(),
    mayNote: run.writesAllowed({ tool: "note" }),
    mayRefund: run.writesAllowed({ tool: "refund" }),
    isAborted: run.signal.aborted,
  };
}

async function story(world: World, domain: string): Promise<unknown[]> {
  const { provider } = world;
  await OpenFeature.setProviderAndWait(domain, provider);
  const told: unknown[] = [await answers(world, domain)];
  const refusal = (change: Promise<void>) =>
    change.then(
      () => "done",
      (error: unknown) => (error as { code?: unknown }).code,
    );

  await world.engage("refunds_disabled", "tenant=acme");
  await world.engage("writes_disabled", "tool=refund");
  told.push(await answers(world, domain));

  const onCandidate = Array.from({ length: 100 }, (_, i) => `user-${i}`).find(
    (key) => provider.version("support-agent", key) === CANDIDATE,
  );
  const client = OpenFeature.getClient(domain);
  await withRun({ client, agent: "support-agent", userId: onCandidate }, async (run) => {
    const { revision: _ours, ...pin } = await run.pinned("support-agent", "fallback@1");
    told.push(pin, seen(run));
    await world.rollBack("support-agent");
    told.push(await run.pin("support-agent", "fallback@1"), seen(run));
    await world.rollBack("support-agent");
    await world.release("writes_disabled", "tool=refund");
    run.report({ status: "escalated", quality: 0.5 });
  });
  told.push(await answers(world, domain));

  await world.release("writes_disabled", "agent=support-agent");
  await withRun({ provider, agent: "support-agent", userId: onCandidate }, async (run) => {
    const { revision: _ours, ...pin } = await run.pinned("support-agent", "fallback@1");
    told.push(pin, seen(run));
  });
  told.push(
    await answers(world, domain),
    await refusal(world.engage("nothing")),
    await refusal(world.release("nothing")),
    await refusal(world.rollBack("nothing")),
    await refusal(world.rollBack("planner")),
  );

  await eventually("every outcome is counted", () => provider.outcomeStatistics.acknowledged === 2);
  told.push(provider.outcomeStatistics);
  await world.loseServer();
  told.push(await answers(world, domain));
  return told;
}

test("the provider for tests answers a rollout, a rollback, its switches and an outage as the real one does", async () => {
  onTestFinished(() => OpenFeature.clearProviders());
  const tested = await story(await inMemory(), "in-memory");
  const real = await story(await onServer(), "on-server");

  expect(tested).toEqual(real);
  // That both tell nothing would be no parity.
  expect(JSON.stringify(real)).toContain('"role":"candidate"');
  expect(real).toContainEqual({ mayWrite: false, mayNote: true, mayRefund: false, isAborted: false });
  expect(real).toContain("rollout_not_active");
});

test("and what it calls outcomes is what the real one sends, whatever is reported", async () => {
  onTestFinished(() => OpenFeature.clearProviders());
  const server = await new FakeServer().start();
  onTestFinished(() => server.stop());
  server.hold(alias(), killSwitch());
  // Closing waits for all outcomes, also on a busy machine.
  const real = new FlagbackProvider({ url: server.url, token: TOKEN, logger: QUIET, closeTimeoutMs: 20_000 });
  const tested = new TestProvider(
    { aliases: { "support-agent": { stable: STABLE, candidate: CANDIDATE, percent: 50 } } },
    { logger: QUIET },
  );
  const report = async (provider: FlagbackProvider | TestProvider, domain: string) => {
    await OpenFeature.setProviderAndWait(domain, provider);
    const client = OpenFeature.getClient(domain);
    const clock: Clock = { monotonicMs: () => 1_000, wallMs: () => Date.UTC(2026, 0, 31) };
    const reports: Record<string, unknown>[] = [
      { status: "success", costUsd: 0.25, safetyFlags: ["pii_leak"], attributes: { tenant: "acme" } },
      { status: "timeout", durationMs: Number.NaN, quality: 2, unheardOf: true },
      { status: "sideways" },
      { status: "success", attributes: Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`a${i}`, "x"])) },
      { status: "success", metrics: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`m${i}`, i])) },
      { status: "failure", metrics: { steps: Number.POSITIVE_INFINITY }, errorType: "x".repeat(500) },
    ];
    for (const [i, each] of reports.entries()) {
      await withRun({ client, agent: "support-agent", userId: `user-${i}`, runId: `run-${i}`, clock }, async (run) => {
        await run.pin("support-agent", "fallback@1");
        await run.pin("missing", "missing@1");
        run.report(each as unknown as Parameters<Run["report"]>[0]);
      });
    }
    client.track("agent.run.outcome", { targetingKey: "user-1" }, { status: "success", runId: "tracked" });
    client.track("agent.run.outcome", { targetingKey: "nobody" }, { status: "success", runId: "lost" });
    await provider.onClose();
  };
  await report(real, "real");
  await report(tested, "tested");

  const sent = server.outcomes.map(({ assignedSeq: _of, ...outcome }) => outcome);
  expect(tested.outcomes()).toEqual(sent);
  expect(sent.length).toBeGreaterThan(9);
  const { dropped, repaired } = real.outcomeStatistics;
  expect(tested.outcomeStatistics).toMatchObject({ dropped, repaired });
  expect(repaired).toBeGreaterThan(2);
});
