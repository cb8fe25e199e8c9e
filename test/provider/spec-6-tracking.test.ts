/**
 * Section 6 of the OpenFeature specification (0.9), as far as it falls on a provider.
 */
import { OpenFeature } from "@openfeature/server-sdk";
import { expect, test } from "vitest";
import { alias, CANDIDATE, killSwitch, STABLE } from "./documents.ts";
import { connect, fakeServer, keysOf } from "./harness.ts";

async function ready() {
  const server = await fakeServer(alias(), killSwitch());
  const { provider, client, logged } = await connect(server);
  return { server, client, logged, keys: keysOf(provider) };
}

test("6.1.3: the merged context says whose outcome it is, and the invocation's targeting key wins", async () => {
  const { server, client, keys } = await ready();
  OpenFeature.setContext({ targetingKey: keys.stableKey });
  await client.getStringValue("support-agent", "x");
  await client.getStringValue("support-agent", "x", { targetingKey: keys.candidateKey });
  client.track("agent.run.outcome", {}, { status: "success", runId: "global" });
  client.track("agent.run.outcome", { targetingKey: keys.candidateKey }, { status: "failure", runId: "invocation" });
  await server.until(() => server.outcomes.length === 2);
  const told = server.outcomes.map(({ runId, version, status }) => [runId, version, status]);
  expect(told).toEqual([
    ["global", STABLE, "success"],
    ["invocation", CANDIDATE, "failure"],
  ]);
});

test("6.2.1: the numeric value of a tracked event is the outcome's metric of that name", async () => {
  const { server, client, keys } = await ready();
  const context = { targetingKey: keys.stableKey };
  await client.getStringValue("support-agent", "x", context);
  client.track("agent.run.outcome", context, { status: "success", value: 99.77 });
  client.track("agent.run.outcome", context, { status: "success", value: 1, metrics: { steps: 4 } });
  client.track("agent.run.outcome", context, { status: "success", value: 1, metrics: { value: 2 } });
  await server.until(() => server.outcomes.length === 3);
  expect(server.outcomes.map(({ metrics }) => metrics)).toEqual([
    { value: 99.77 },
    { value: 1, steps: 4 },
    { value: 2 },
  ]);
});

test("6.2.2: custom fields of an outcome arrive, and one that no outcome has is left out and said once", async () => {
  const { server, client, logged, keys } = await ready();
  const context = { targetingKey: keys.stableKey };
  await client.getStringValue("support-agent", "x", context);
  const details = { status: "failure", errorType: "timeout", toolCalls: 3, drill: true, basket: "full" };
  client.track("agent.run.outcome", context, details);
  client.track("agent.run.outcome", context, details);
  await server.until(() => server.outcomes.length === 2);
  const { basket: _, ...known } = details;
  for (const outcome of server.outcomes) expect(outcome).toMatchObject(known);
  expect(server.outcomes[0]).not.toHaveProperty("basket");
  expect(logged).toEqual([expect.stringContaining("basket")]);
});

test("6.1.4: an event of another name than ours is none of our business, and no error", async () => {
  const { server, client, logged, keys } = await ready();
  const context = { targetingKey: keys.stableKey };
  await client.getStringValue("support-agent", "x", context);
  client.track("clicked-checkout", context, { value: 1 });
  client.track("agent.run.outcome", context, { status: "success", runId: "ours" });
  await server.until(() => server.outcomes.length === 1);
  expect(server.outcomes[0]?.runId).toBe("ours");
  expect(logged).toEqual([]);
});
