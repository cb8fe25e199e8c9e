/**
 * A provider's outcomes, its close, and a start after it.
 */
import type { FlagbackProvider } from "@flagback/provider";
import { OpenFeature, ProviderEvents, ProviderStatus } from "@openfeature/server-sdk";
import { beforeEach, describe, expect, test } from "vitest";
import { killSwitch, ONE_OF_EACH, STABLE } from "./documents.ts";
import type { FakeServer } from "./fake-server.ts";
import { connect, fakeProvider, fakeServer, nextEvent } from "./harness.ts";

let server: FakeServer;
beforeEach(async () => {
  server = await fakeServer(...ONE_OF_EACH);
});

describe("outcomes", () => {
  test("that were reported before READY wait and are sent", async () => {
    await server.stop();
    const provider = fakeProvider(server, { initTimeoutMs: 20 }).provider;
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
    const { provider } = await connect(server);
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
    const { provider } = await connect(server);
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
    const { provider } = await connect(server, { closeTimeoutMs: 20_000 });
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
    const { provider, client } = await connect(server);
    await provider.onClose();
    expect(await client.getBooleanValue("banner", false)).toBe(true);
  });

  test("does not wait longer than its bound for a server that does not acknowledge", async () => {
    server.acks = false;
    const { provider } = await connect(server, { closeTimeoutMs: 20 });
    provider.reportOutcome({ alias: "support-agent", version: STABLE, revision: 1 }, { runId: "r", status: "success" });
    await provider.onClose();
    expect(provider.outcomeStatistics.pending).toBe(1);
  });

  test("aborts an initialize that is under way", async () => {
    await server.stop();
    const provider = fakeProvider(server, { initTimeoutMs: 60_000 }).provider;
    const initialized = provider.initialize().catch((error) => error);
    await provider.onClose();
    expect(await initialized).toMatchObject({ message: expect.stringContaining("closed") });
  });

  test("and initializing again connects again, as the same instance", async () => {
    const provider = fakeProvider(server).provider;
    await provider.initialize();
    await provider.onClose();
    await provider.initialize();
    expect(new Set(server.messages("hello").map((hello) => hello.instance)).size).toBe(1);
    expect(provider.writesAllowed({ agent: "any" })).toBe(true);
    await provider.onClose();
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
    const provider = fakeProvider(server, { closeTimeoutMs: 100 }).provider;
    await provider.initialize();
    server.acks = false;
    const assignment = { alias: "support-agent", version: STABLE, revision: 1 };
    provider.reportOutcome(assignment, { runId: "r1", status: "success" });
    return { provider, closed: provider.onClose() };
  }

  test("after its close is up again", async () => {
    const provider = fakeProvider(server).provider;
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
    const provider = fakeProvider(server).provider;
    const first = provider.initialize();
    const closed = provider.onClose();
    await Promise.all([expect(first).rejects.toMatchObject({ code: "unreachable" }), closed, provider.initialize()]);
    await followsTheServer(provider);
    await provider.onClose();
  });

  test("by OpenFeature, which leaves a domain's provider and comes back to it, is READY and up", async () => {
    const { provider } = await connect(server);
    await OpenFeature.setProviderAndWait(fakeProvider(server).provider);
    await OpenFeature.setProviderAndWait(provider);
    expect(OpenFeature.getClient().providerStatus).toBe(ProviderStatus.READY);
    await followsTheServer(provider);
  });
});
