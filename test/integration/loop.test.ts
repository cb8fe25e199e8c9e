/**
 * The whole loop with the real server, a real socket and the real provider.
 */
import { judge, type Ledger } from "@flagback/core";
import { FlagbackProvider, guardTools, withRun } from "@flagback/provider";
import type { GuardrailEvidence } from "@flagback/schemas";
import { OpenFeature, ProviderEvents } from "@openfeature/server-sdk";
import { expect, onTestFinished, test } from "vitest";
import { eventually, SUPPORT_AGENT, type TestServer, testServer } from "../support/server.ts";
import { auditOf } from "../support/triggers.ts";

test("a bad version is rolled back and stops writing, on every runtime, and says so", async () => {
  const server = await exposingServer();
  const agents = [await agent(server, "one"), await agent(server, "two")];
  const written: string[] = [];

  // Half of the keys get the candidate, and each of its runs fails; stable's succeed.
  for (let run = 0; run < 40; run++) {
    for (const { client } of agents) {
      await withRun({ client, agent: "support-agent", runId: `${client.metadata.domain}-${run}` }, async (current) => {
        const version = await current.pin("support-agent", "none");
        const tools = guardTools({ refund: { execute: async () => written.push(version) } }, { writes: ["refund"] });
        await tools.refund.execute();
        await current.report({ status: version === "support-agent@2.4.0" ? "failure" : "success" });
      });
    }
  }

  const rollback = await eventually("the brain rolls back", async () => (await auditOf(server, "rollback"))[0]);
  expect(rollback).toMatchObject({
    decision: "stop",
    reason: "sla_breach",
    fromVersion: "support-agent@2.4.0",
    toVersion: "support-agent@2.3.3",
    stage: "canary",
    actor: { kind: "brain", name: "brain" },
  });
  expect(rollback.lastRunIds?.length).toBeGreaterThan(0);
  expect(rollback.configHash).toMatch(/^[0-9a-f]{64}$/);
  const evidence = rollback.evidence?.[0] as GuardrailEvidence;
  expect(evidence).toMatchObject({ guardrail: "error_rate", p0: 0.05, share: 1 });
  expect(evidence.k).toBeGreaterThanOrEqual(3);
  expect(evidence.logE).toBeGreaterThanOrEqual(evidence.threshold);

  const spread = await eventually("both runtimes acknowledge", async () => {
    const { body } = await server.call<{ runtimes: number; acknowledged: number }>(
      "GET",
      `/v1/propagation/${rollback.revision}`,
    );
    return body.acknowledged === 2 && body;
  });
  expect(spread.runtimes).toBe(2);
  await eventually(
    "the audit row says so",
    async () => (await auditOf(server, "rollback"))[0]?.switchStatus === "applied 2/2, lapsed 0",
  );

  // From here on no key gets the candidate, and no write goes through.
  const before = written.length;
  for (const { client, provider } of agents) {
    for (let key = 0; key < 200; key++) {
      const details = await client.getStringDetails("support-agent", "none", { targetingKey: `key-${key}` });
      expect(details).toMatchObject({ value: "support-agent@2.3.3", flagMetadata: { role: "stable" } });
    }
    expect(provider.writesAllowed({ agent: "support-agent" })).toBe(false);
    const refused = await withRun({ client, agent: "support-agent" }, async (current) => {
      await current.pin("support-agent", "none");
      const tools = guardTools(
        { refund: { execute: async (): Promise<unknown> => written.push("after") } },
        { writes: ["refund"] },
      );
      return tools.refund.execute();
    });
    expect(String(refused)).toContain("not performed");
  }
  expect(written.length).toBe(before);
});

test("after an alias rollback writes_disabled is true for an empty context and for its agent, and false for another", async () => {
  const server = await exposingServer();
  const { client } = await agent(server, "scopes");
  await server.call("POST", "/v1/aliases/support-agent/rollback?wait=applied", { reason: "test" });
  expect(await client.getBooleanValue("writes_disabled", true)).toBe(true);
  expect(await client.getBooleanValue("writes_disabled", true, { agent: "support-agent" })).toBe(true);
  expect(await client.getBooleanValue("writes_disabled", true, { agent: "other-agent" })).toBe(false);
});

test("the verdict through a real socket is the one that core gives on the stored input", async () => {
  const server = await exposingServer();
  const { client } = await agent(server, "replay");
  for (let run = 0; run < 60; run++) {
    await withRun({ client, agent: "support-agent", runId: `replay-${run}` }, async (current) => {
      const version = await current.pin("support-agent", "none");
      await current.report({ status: version === "support-agent@2.4.0" ? "failure" : "success" });
    });
  }
  const rollback = await eventually("the brain rolls back", async () => (await auditOf(server, "rollback"))[0]);
  await server.close();
  const { default: Database } = await import("better-sqlite3");
  const database = new Database(`${server.dataDir}/flagback.db`, { readonly: true });
  const stored = database
    .prepare("SELECT document FROM decisions WHERE id = ?")
    .pluck()
    .get(rollback.decisionId) as string;
  database.close();
  const verdict = judge((JSON.parse(stored) as { input: Ledger }).input);
  expect(verdict).toMatchObject({ kind: "stop", reason: rollback.reason, guardrails: rollback.evidence });
});

test("an OpenFeature client written from its public docs alone works against the server", async () => {
  const server = await exposingServer();
  await server.call("PUT", "/v1/flags/greeting", {
    state: "ENABLED",
    variants: { de: "Hallo", en: "Hello" },
    defaultVariant: "de",
  });
  const token = await server.token("runtime");
  await OpenFeature.setProviderAndWait(new FlagbackProvider({ url: server.url, token }));
  onTestFinished(() => OpenFeature.close());
  const client = OpenFeature.getClient();

  expect(await client.getStringValue("greeting", "?")).toBe("Hallo");
  expect(await client.getBooleanValue("writes_disabled", true)).toBe(false);
  expect(await client.getObjectValue("support-agent", {}, { targetingKey: "u1" })).toHaveProperty("prompt");
  const version = await client.getStringValue("support-agent", "?", { targetingKey: "u1" });
  expect(version).toMatch(/^support-agent@2\.(3\.3|4\.0)$/);
  client.track("agent.run.outcome", { targetingKey: "u1" }, { status: "success", durationMs: 12 });
  await eventually("the outcome is counted", async () => {
    const { body } = await server.call<{ traffic: { settled: number }[] }>("GET", "/v1/aliases/support-agent/rollout");
    return body.traffic.some((each) => each.settled === 1);
  });
});

test("curl alone engages and releases the kill switch and rolls back an alias while a runtime watches", async () => {
  const server = await exposingServer();
  const { client } = await agent(server, "curl");
  const operator = { token: await server.token("operator") };
  const changes: string[][] = [];
  client.addHandler(ProviderEvents.ConfigurationChanged, (event) => {
    changes.push([...(event?.flagsChanged ?? [])].sort());
  });

  const engaged = await server.call(
    "POST",
    "/v1/kill-switches/writes_disabled/engage?wait=applied",
    { reason: "drill" },
    operator,
  );
  expect(engaged.body).toMatchObject({
    change: { status: "done" },
    propagation: { runtimes: 1, acknowledged: 1, lapsed: 0 },
  });
  expect(await client.getBooleanValue("writes_disabled", false)).toBe(true);
  await server.call("POST", "/v1/kill-switches/writes_disabled/release?wait=applied", { reason: "over" }, operator);
  expect(await client.getBooleanValue("writes_disabled", true)).toBe(false);

  await server.call("POST", "/v1/aliases/support-agent/rollback?wait=applied", { reason: "by hand" }, operator);
  expect(await client.getStringValue("support-agent", "?", { targetingKey: "any" })).toBe("support-agent@2.3.3");
  await eventually("each change was announced", () => changes.length === 3);
  expect(changes).toEqual([["writes_disabled"], ["writes_disabled"], ["support-agent", "writes_disabled"]]);
});

async function exposingServer(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  const started = await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: "support-agent@2.4.0" });
  expect(started.status).toBe(200);
  return server;
}

async function agent(server: TestServer, domain: string) {
  const provider = new FlagbackProvider({ url: server.url, token: await server.token("runtime") });
  await OpenFeature.setProviderAndWait(domain, provider);
  onTestFinished(() => OpenFeature.clearProviders());
  return { provider, client: OpenFeature.getClient(domain) };
}
