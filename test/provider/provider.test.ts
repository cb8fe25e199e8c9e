import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { FlagbackProvider, type FlagbackProviderOptions } from "@flagback/provider";
import { ErrorCode, OpenFeature, ProviderEvents, ProviderStatus } from "@openfeature/server-sdk";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CANDIDATE, flag, killSwitch, ONE_OF_EACH, rolledBack, STABLE } from "./documents.ts";
import { FakeServer, TOKEN } from "./fake-server.ts";
import { keysOf, nextEvent } from "./harness.ts";

let server: FakeServer;
let logged: string[];
const logger = { warn: (message: string) => logged.push(message), error: (message: string) => logged.push(message) };

beforeEach(async () => {
  logged = [];
  server = await new FakeServer().start();
  server.hold(...ONE_OF_EACH);
});

afterEach(async () => {
  await OpenFeature.close();
  await OpenFeature.clearProviders();
  await server.stop();
});

const providerOf = (over: Partial<FlagbackProviderOptions> = {}) =>
  new FlagbackProvider({ url: server.url, token: TOKEN, logger, random: () => 0.1, ...over });

async function connect(over: Partial<FlagbackProviderOptions> = {}) {
  const provider = providerOf(over);
  await OpenFeature.setProviderAndWait(provider);
  const client = OpenFeature.getClient();
  return { provider, client };
}

describe("an OpenFeature client written from its public documentation", () => {
  test("reads an alias as a version id, with variant, reason and metadata", async () => {
    const { provider, client } = await connect();
    const { candidateKey, stableKey } = keysOf(provider);
    expect(await client.getStringDetails("support-agent", "fallback", { targetingKey: candidateKey })).toEqual({
      flagKey: "support-agent",
      value: CANDIDATE,
      variant: CANDIDATE,
      reason: "SPLIT",
      flagMetadata: { revision: 1, stage: "validation", role: "candidate", version: CANDIDATE },
    });
    expect(await client.getStringValue("support-agent", "fallback", { targetingKey: stableKey })).toBe(STABLE);
    expect(await client.getStringValue("support-agent", "fallback")).toBe(STABLE);
  });

  test("reads an alias as its version's payload", async () => {
    const { provider, client } = await connect();
    const { candidateKey } = keysOf(provider);
    const details = await client.getObjectDetails("support-agent", {}, { targetingKey: candidateKey });
    expect(details).toMatchObject({ value: { prompt: "new" }, variant: CANDIDATE, reason: "SPLIT" });
    expect(Object.isFrozen(details.value)).toBe(true);
  });

  test("reads other flags of every type through flagd's rules", async () => {
    const { client } = await connect();
    expect(await client.getBooleanDetails("banner", false)).toMatchObject({
      value: true,
      variant: "on",
      reason: "STATIC",
    });
    expect(await client.getNumberValue("limit", 0)).toBe(5);
    expect(await client.getBooleanDetails("byTenant", true, { tenant: "acme" })).toMatchObject({
      value: false,
      reason: "TARGETING_MATCH",
    });
    expect(await client.getBooleanDetails("off", false)).toMatchObject({ value: false, reason: "DISABLED" });
  });

  test("hears CACHED for an answer that it had before only where it asks for that, and never for an alias or a switch", async () => {
    const { provider, client } = await connect({ cachedReason: true });
    const reasons = async () => [
      (await client.getBooleanDetails("banner", false)).reason,
      (await client.getBooleanDetails("byTenant", false, { tenant: "acme" })).reason,
      (await client.getBooleanDetails("writes_disabled", true, { agent: "any" })).reason,
      (await client.getStringDetails("support-agent", "x", { targetingKey: "user-1" })).reason,
    ];
    const fresh = ["STATIC", "TARGETING_MATCH", "STATIC", "SPLIT"];
    expect([await reasons(), await reasons()]).toEqual([fresh, ["CACHED", ...fresh.slice(1)]]);
    const changed = nextEvent(provider, ProviderEvents.ConfigurationChanged);
    server.put(flag("banner", { defaultVariant: "off" }));
    await changed;
    expect(await reasons()).toEqual(fresh);
    const other = await connect();
    expect((await other.client.getBooleanDetails("banner", true)).reason).toBe("STATIC");
    expect((await other.client.getBooleanDetails("banner", true)).reason).toBe("STATIC");
  });

  test("2.2.7: gets its default and the specification's error code where there is no answer", async () => {
    const { client } = await connect();
    const codes = await Promise.all([
      client.getBooleanDetails("support-agent", true),
      client.getNumberDetails("support-agent", 1),
      client.getStringDetails("writes_disabled", "x"),
      client.getNumberDetails("banner", 7),
      client.getBooleanDetails("unknown_switch", true),
      client.getObjectDetails("unknown", { a: 1 }),
    ]);
    expect(codes.map(({ value, errorCode }) => [value, errorCode])).toEqual([
      [true, ErrorCode.TYPE_MISMATCH],
      [1, ErrorCode.TYPE_MISMATCH],
      ["x", ErrorCode.TYPE_MISMATCH],
      [7, ErrorCode.TYPE_MISMATCH],
      [true, ErrorCode.FLAG_NOT_FOUND],
      [{ a: 1 }, ErrorCode.FLAG_NOT_FOUND],
    ]);
  });

  test("reads true, true and false after an alias rollback: empty context, own agent, other agent", async () => {
    server.hold(rolledBack(), killSwitch("agent=support-agent"));
    const { provider, client } = await connect();
    expect(await client.getBooleanValue("writes_disabled", true)).toBe(true);
    expect(await client.getBooleanValue("writes_disabled", true, { agent: "support-agent" })).toBe(true);
    expect(await client.getBooleanValue("writes_disabled", true, { agent: "other" })).toBe(false);
    expect(provider.writesAllowed()).toBe(false);
    expect(provider.writesAllowed({ agent: "support-agent" })).toBe(false);
    expect(provider.writesAllowed({ agent: "other" })).toBe(true);
  });

  test("is not thrown at by a context with a cycle or a targeting key that is no text", async () => {
    const { client } = await connect();
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    // biome-ignore lint/suspicious/noExplicitAny: what a caller without types can pass.
    const wrong = { targetingKey: 7, cycle } as any;
    expect(await client.getStringValue("support-agent", "fallback", wrong)).toBe(STABLE);
    expect(await client.getStringValue("support-agent", "fallback", wrong)).toBe(STABLE);
    expect(await client.getBooleanValue("byTenant", true, wrong)).toBe(true);
    expect(logged.filter((line) => line.includes("targeting key"))).toHaveLength(1);
  });

  test("tracks an outcome for the version that its targeting key got last, announced in the same batch", async () => {
    const { provider, client } = await connect();
    const { candidateKey } = keysOf(provider);
    await client.getStringValue("support-agent", "fallback", { targetingKey: candidateKey });
    const details = { status: "failure", durationMs: 1200, toolCalls: 3, nonsense: "x" };
    client.track("agent.run.outcome", { targetingKey: candidateKey }, details);
    details.status = "success";
    await server.until(() => server.outcomes.length === 1);
    expect(server.batches).toHaveLength(1);
    expect(server.batches[0]?.assigned).toEqual([{ alias: "support-agent", version: CANDIDATE, revision: 1, n: 1 }]);
    expect(server.outcomes[0]).toMatchObject({
      alias: "support-agent",
      version: CANDIDATE,
      status: "failure",
      durationMs: 1200,
      toolCalls: 3,
      assignedSeq: 1,
    });
    expect(server.outcomes[0]).not.toHaveProperty("nonsense");
    expect(logged.filter((line) => line.includes("nonsense"))).toHaveLength(1);
  });

  test("does not count an outcome that no evaluation belongs to, and says so once", async () => {
    const { provider, client } = await connect();
    client.track("agent.run.outcome", { targetingKey: "nobody" }, { status: "success" });
    client.track("agent.run.outcome", { targetingKey: "nobody" }, { status: "success" });
    expect(provider.outcomeStatistics.dropped.unattributed).toBe(2);
    expect(logged).toHaveLength(1);
  });
});

describe("a change", () => {
  test("is acknowledged after the swap, and told with the keys that changed", async () => {
    const { provider, client } = await connect();
    const { candidateKey } = keysOf(provider);
    const changed = nextEvent(provider, ProviderEvents.ConfigurationChanged);
    server.put(rolledBack(), killSwitch("agent=support-agent"));
    expect((await changed).flagsChanged).toEqual(["support-agent", "writes_disabled"]);
    expect(await client.getStringDetails("support-agent", "x", { targetingKey: candidateKey })).toMatchObject({
      value: STABLE,
      reason: "STATIC",
    });
    await server.until(() => server.messages("applied").some((message) => message.revision === 2));
    expect(server.messages("applied").at(-1)?.appliedAfterMs).toBeGreaterThanOrEqual(0);
  });

  test("that deletes a flag makes it unknown", async () => {
    const { provider, client } = await connect();
    const changed = nextEvent(provider, ProviderEvents.ConfigurationChanged);
    server.change([], [{ kind: "flag", key: "banner" }]);
    expect((await changed).flagsChanged).toEqual(["banner"]);
    expect((await client.getBooleanDetails("banner", false)).errorCode).toBe(ErrorCode.FLAG_NOT_FOUND);
  });

  test("of another flag leaves a static answer the very same object", async () => {
    const { provider } = await connect();
    const before = provider.resolveBooleanEvaluation("writes_disabled", true, {});
    const changed = nextEvent(provider, ProviderEvents.ConfigurationChanged);
    server.put(flag("banner", { defaultVariant: "off" }));
    await changed;
    expect(provider.resolveBooleanEvaluation("writes_disabled", true, {})).toBe(before);
  });
});

describe("the connection", () => {
  test("is STALE when cut, keeps answering, and resumes to READY with what it missed", async () => {
    const { provider, client } = await connect();
    const stale = nextEvent(provider, ProviderEvents.Stale);
    const ready = nextEvent(provider, ProviderEvents.Ready);
    server.cut();
    server.put(killSwitch("*"));
    await stale;
    expect(client.providerStatus).toBe(ProviderStatus.STALE);
    expect(await client.getBooleanValue("banner", false)).toBe(true);
    await ready;
    expect(client.providerStatus).toBe(ProviderStatus.READY);
    expect(await client.getBooleanValue("writes_disabled", false, { agent: "any" })).toBe(true);
    expect(server.messages("hello").at(-1)?.resume?.revision).toBe(1);
  });

  test("outlives a restart of the server on the same port", async () => {
    const { provider } = await connect();
    const stale = nextEvent(provider, ProviderEvents.Stale);
    await server.stop();
    await stale;
    const ready = nextEvent(provider, ProviderEvents.Ready);
    await server.start();
    await ready;
    expect(provider.writesAllowed({ agent: "any" })).toBe(true);
  });

  test("with the server down at boot: ERROR, the caller's default, and READY once it is there", async () => {
    await server.stop();
    const provider = providerOf({ initTimeoutMs: 50 });
    await expect(OpenFeature.setProviderAndWait(provider)).rejects.toMatchObject({ code: "unreachable" });
    const client = OpenFeature.getClient();
    expect(client.providerStatus).toBe(ProviderStatus.ERROR);
    expect(await client.getStringDetails("support-agent", "fallback")).toMatchObject({
      value: "fallback",
      errorCode: ErrorCode.PROVIDER_NOT_READY,
    });
    expect(provider.writesAllowed({ agent: "any" })).toBe(false);
    expect(provider.version("support-agent", "u")).toBeNull();
    const ready = nextEvent(provider, ProviderEvents.Ready);
    await server.start();
    await ready;
    expect(client.providerStatus).toBe(ProviderStatus.READY);
    expect(await client.getStringValue("support-agent", "fallback")).toBe(STABLE);
  });

  test("with a refused token rejects at once, says so once, and does not hammer", async () => {
    const provider = providerOf({ token: "fb_runtime_wrong" });
    await expect(OpenFeature.setProviderAndWait(provider)).rejects.toMatchObject({
      code: ErrorCode.PROVIDER_FATAL,
      cause: { code: "unauthorized" },
    });
    expect(OpenFeature.getClient().providerStatus).toBe(ProviderStatus.FATAL);
    expect(logged).toEqual([expect.stringContaining("refuses the token")]);
    expect(server.upgrades).toBe(1);
  });

  test("never repeats the token in a log line or an error, also one that no header can carry", async () => {
    const provider = providerOf({ token: "secret\r\nx", initTimeoutMs: 50 });
    const error: Error = await provider.initialize().then(
      () => new Error("it connected"),
      (reason) => reason,
    );
    await provider.onClose();
    expect([error.message, ...logged].join()).not.toContain("secret");
    expect(logged).not.toEqual([]);
  });

  test("to a port that answers HTML asks whether the url is right, and tries on", async () => {
    const html = createServer((_, response) => {
      response.writeHead(200, { "content-type": "text/html" }).end("<html>hello</html>");
    });
    await new Promise<void>((resolve) => html.listen(0, "127.0.0.1", resolve));
    const provider = providerOf({
      url: `http://127.0.0.1:${(html.address() as AddressInfo).port}`,
      initTimeoutMs: 5_000,
    });
    const initialized = provider.initialize().catch((error) => error);
    for (let requests = 0; requests < 3; requests++) await once(html, "request");
    expect(logged).toEqual([expect.stringMatching(/answers 200.*flagback server\?/)]);
    await provider.onClose();
    expect(await initialized).toMatchObject({ code: "unreachable" });
    html.closeAllConnections();
    await new Promise((resolve) => html.close(resolve));
  });

  test("survives a malformed frame and comes back with a whole snapshot", async () => {
    const { provider } = await connect();
    const stale = nextEvent(provider, ProviderEvents.Stale);
    const ready = nextEvent(provider, ProviderEvents.Ready);
    server.broadcastText("<html>");
    await stale;
    await ready;
    expect(server.messages("hello").at(-1)).not.toHaveProperty("resume");
  });

  test("survives a delta that does not follow what it holds", async () => {
    const { provider } = await connect();
    const ready = nextEvent(provider, ProviderEvents.Ready);
    server.broadcast({ type: "delta", from: 40, revision: 41, mark: "0".repeat(16), put: [], delete: [] });
    await ready;
    expect(provider.revision).toBe(1);
  });
});
