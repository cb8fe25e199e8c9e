import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { FlagbackProvider, type FlagbackProviderOptions } from "@flagback/provider";
import { ErrorCode, OpenFeature, ProviderEvents, ProviderStatus } from "@openfeature/server-sdk";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { alias, CANDIDATE, flag, killSwitch, rolledBack, STABLE } from "./documents.ts";
import { FakeServer, TOKEN } from "./fake-server.ts";
import { keysOf, nextEvent } from "./harness.ts";

let server: FakeServer;
let logged: string[];
const logger = { warn: (message: string) => logged.push(message), error: (message: string) => logged.push(message) };

beforeEach(async () => {
  logged = [];
  server = await new FakeServer().start();
  server.hold(
    alias(),
    killSwitch(),
    flag("banner", {}),
    flag("limit", { variants: { low: 5, high: 50 }, defaultVariant: "low" }),
    flag("off", { state: "DISABLED" }),
    flag("byTenant", { targeting: { if: [{ "==": [{ var: "tenant" }, "acme"] }, "off", "on"] } }),
  );
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

describe("a provider that is initialised again", () => {
  /** It takes in a change: the stream is up. */
  async function followsTheServer(provider: FlagbackProvider): Promise<void> {
    server.put(killSwitch());
    const { revision } = server;
    await server.until(() => server.messages("applied").some((message) => message.revision === revision));
    expect(provider.revision).toBe(revision);
  }

  /** A close that has to wait: an outcome that the server does not acknowledge. */
  async function closing() {
    const provider = providerOf({ closeTimeoutMs: 100 });
    await provider.initialize();
    server.acks = false;
    const assignment = { alias: "support-agent", version: STABLE, revision: 1 };
    provider.reportOutcome(assignment, { runId: "r1", status: "success" });
    return { provider, closed: provider.onClose() };
  }

  test("after its close is up again", async () => {
    const provider = providerOf();
    await provider.initialize();
    await provider.onClose();
    await provider.initialize();
    await followsTheServer(provider);
    await provider.onClose();
  });

  test("while it closes is up when initialize says so, with one connection", async () => {
    const { provider, closed } = await closing();
    await provider.initialize();
    await closed;
    await followsTheServer(provider);
    expect(server.messages("hello")).toHaveLength(2);
    await provider.onClose();
    await server.until(() => server.connections === 0);
  });

  test("while it closes and is closed again stays closed", async () => {
    const { provider, closed } = await closing();
    const initialized = provider.initialize();
    await Promise.all([provider.onClose(), closed, expect(initialized).rejects.toMatchObject({ code: "unreachable" })]);
    await server.until(() => server.connections === 0);
    expect(server.upgrades).toBe(1);
  });

  test("right after a close that cut its first initialisation short is up", async () => {
    const provider = providerOf();
    const first = provider.initialize();
    const closed = provider.onClose();
    await Promise.all([expect(first).rejects.toMatchObject({ code: "unreachable" }), closed, provider.initialize()]);
    await followsTheServer(provider);
    await provider.onClose();
  });

  test("by OpenFeature, which leaves a domain's provider and comes back to it, is READY and up", async () => {
    const { provider } = await connect();
    await OpenFeature.setProviderAndWait(providerOf());
    await OpenFeature.setProviderAndWait(provider);
    expect(OpenFeature.getClient().providerStatus).toBe(ProviderStatus.READY);
    await followsTheServer(provider);
  });
});

describe("a lapsed lease", () => {
  test("engages the switch and serves stable, at the evaluation itself and not by a timer", async () => {
    const start = performance.now();
    let jumpMs = 0;
    const clock = {
      monotonicMs: () => performance.now(),
      wallMs: () => 1_700_000_000_000 + performance.now() - start + jumpMs,
    };
    const { provider, client } = await connect({ clock });
    const { candidateKey } = keysOf(provider);
    expect(provider.writesAllowed({ agent: "any" })).toBe(true);
    jumpMs = 15_000;
    expect(provider.writesAllowed({ agent: "any" })).toBe(false);
    expect(provider.version("support-agent", candidateKey)).toBe(STABLE);
    expect(await client.getBooleanDetails("writes_disabled", false, { agent: "any" })).toMatchObject({
      value: true,
      reason: "STALE",
    });
    expect(await client.getStringDetails("support-agent", "x", { targetingKey: candidateKey })).toMatchObject({
      value: STABLE,
      reason: "STALE",
    });
  });

  test("gives every other flag its value with reason STALE, and its own reason under a live one", async () => {
    let jumpMs = 0;
    const clock = { monotonicMs: () => performance.now(), wallMs: () => performance.now() + jumpMs };
    const { client } = await connect({ clock });
    const reasons = async () => [
      (await client.getBooleanDetails("banner", false)).reason,
      (await client.getBooleanDetails("byTenant", true, { tenant: "acme" })).reason,
      (await client.getBooleanDetails("unknown", true)).reason,
    ];
    expect(await reasons()).toEqual(["STATIC", "TARGETING_MATCH", "ERROR"]);
    jumpMs = 15_000;
    expect(await reasons()).toEqual(["STALE", "STALE", "ERROR"]);
    jumpMs = 0;
    expect(await reasons()).toEqual(["STATIC", "TARGETING_MATCH", "ERROR"]);
  });

  test("leaves a switch at its last value where its fail-safe says so", async () => {
    server.hold({ ...killSwitch(), failSafe: { engage: false, afterMs: 0 } });
    let jumpMs = 0;
    const clock = { monotonicMs: () => performance.now(), wallMs: () => performance.now() + jumpMs };
    const { provider, client } = await connect({ clock });
    jumpMs = 3_600_000;
    expect(provider.writesAllowed({ agent: "any" })).toBe(true);
    expect(await client.getBooleanDetails("writes_disabled", true, { agent: "any" })).toMatchObject({
      value: false,
      reason: "STALE",
    });
  });

  test("waits the switch's afterMs past the lease", async () => {
    server.hold({ ...killSwitch(), failSafe: { engage: true, afterMs: 5_000 } });
    let jumpMs = 0;
    const clock = { monotonicMs: () => performance.now(), wallMs: () => performance.now() + jumpMs };
    const { provider } = await connect({ clock });
    jumpMs = 15_000;
    expect(provider.writesAllowed({ agent: "any" })).toBe(true);
    jumpMs = 20_000;
    expect(provider.writesAllowed({ agent: "any" })).toBe(false);
  });

  test("never came: no READY, and no write", async () => {
    server.leases = false;
    const provider = providerOf({ initTimeoutMs: 200 });
    await expect(provider.initialize()).rejects.toMatchObject({ code: "unreachable" });
    expect(provider.revision).toBe(1);
    expect(provider.writesAllowed({ agent: "any" })).toBe(false);
    await provider.onClose();
  });
});

describe("outcomes", () => {
  test("that were reported before READY wait and are sent", async () => {
    await server.stop();
    const provider = providerOf({ initTimeoutMs: 20 });
    await provider.initialize().catch(() => {});
    provider.reportOutcome(
      { alias: "support-agent", version: STABLE, revision: 0 },
      { runId: "early", status: "success" },
    );
    await server.start();
    await server.until(() => server.outcomes.length === 1);
    expect(server.outcomes[0]).toMatchObject({ runId: "early", assignedSeq: 1 });
    await provider.onClose();
  });

  test("whose acknowledgement was lost are counted once", async () => {
    const { provider } = await connect();
    server.acks = false;
    const assignment = { alias: "support-agent", version: STABLE, revision: 1 };
    provider.reportOutcome(assignment, { runId: "r1", status: "success" });
    await server.until(() => server.outcomes.length === 1);
    const ready = nextEvent(provider, ProviderEvents.Ready);
    server.cut();
    await ready;
    server.acks = true;
    provider.reportOutcome(assignment, { runId: "r2", status: "success" });
    await server.until(() => server.outcomes.length === 2);
    expect(server.outcomes.map((outcome) => outcome.runId)).toEqual(["r1", "r2"]);
    expect(server.batches.map((batch) => batch.seq)).toEqual([1, 2]);
  });

  test("of a run that is open while the database is restored are announced again", async () => {
    const { provider } = await connect();
    const announced = provider.assign({ alias: "support-agent", version: STABLE, revision: 1 });
    await server.until(() => server.batches.length === 1);
    const ready = nextEvent(provider, ProviderEvents.Ready);
    server.restore();
    server.cut();
    await ready;
    provider.reportOutcome(announced, { runId: "r1", status: "success" });
    await server.until(() => server.outcomes.length === 1);
    const last = server.batches.slice(1);
    expect(last[0]).toMatchObject({ seq: 1, assigned: [{ version: STABLE, n: 1 }] });
    expect(server.outcomes[0]?.assignedSeq).toBe(1);
  });
});

describe("closing", () => {
  test("2.5.1, 2.5.3: sends what waits, says goodbye, ends every attempt, and is harmless twice", async () => {
    const { provider } = await connect();
    provider.reportOutcome(
      { alias: "support-agent", version: STABLE, revision: 1 },
      { runId: "last", status: "success" },
    );
    await Promise.all([provider.onClose(), provider.onClose()]);
    await provider.onClose();
    expect(server.outcomes.map((outcome) => outcome.runId)).toEqual(["last"]);
    await server.until(() => server.connections === 0);
    expect(server.messages("goodbye")).toHaveLength(1);
    expect(server.upgrades).toBe(1);
  });

  test("leaves evaluations with what was held", async () => {
    const { provider, client } = await connect();
    await provider.onClose();
    expect(await client.getBooleanValue("banner", false)).toBe(true);
  });

  test("does not wait longer than its bound for a server that does not acknowledge", async () => {
    server.acks = false;
    const { provider } = await connect({ closeTimeoutMs: 20 });
    provider.reportOutcome({ alias: "support-agent", version: STABLE, revision: 1 }, { runId: "r", status: "success" });
    await provider.onClose();
    expect(provider.outcomeStatistics.pending).toBe(1);
  });

  test("aborts an initialize that is under way", async () => {
    await server.stop();
    const provider = providerOf({ initTimeoutMs: 60_000 });
    const initialized = provider.initialize().catch((error) => error);
    await provider.onClose();
    expect(await initialized).toMatchObject({ message: expect.stringContaining("closed") });
  });

  test("and initializing again connects again, as the same instance", async () => {
    const provider = providerOf();
    await provider.initialize();
    await provider.onClose();
    await provider.initialize();
    expect(new Set(server.messages("hello").map((hello) => hello.instance)).size).toBe(1);
    expect(provider.writesAllowed({ agent: "any" })).toBe(true);
    await provider.onClose();
  });
});
