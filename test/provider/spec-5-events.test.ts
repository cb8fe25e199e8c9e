/**
 * Section 5 of the OpenFeature specification (0.9), as far as it falls on a provider.
 */
import { ErrorCode, type EventDetails, OpenFeature, ProviderEvents, ProviderStatus } from "@openfeature/server-sdk";
import { expect, test } from "vitest";
import { alias, flag, killSwitch, rolledBack } from "./documents.ts";
import { closeOpenFeature, connect, fakeProvider, fakeServer, nextEvent } from "./harness.ts";

const serving = () => fakeServer(alias(), killSwitch(), flag("banner", {}));

test("5.1.1: configuration changed, stale, error and ready are each signalled, with details", async () => {
  const server = await serving();
  const { provider } = await connect(server, { errorGraceMs: 20 });
  const changed = nextEvent(provider, ProviderEvents.ConfigurationChanged);
  server.put(rolledBack(), killSwitch("agent=support-agent"));
  expect(await changed).toEqual({ flagsChanged: ["support-agent", "writes_disabled"], metadata: { revision: 2 } });
  const stale = nextEvent(provider, ProviderEvents.Stale);
  const failed = nextEvent(provider, ProviderEvents.Error);
  await server.stop();
  expect((await stale).message).toContain("not connected");
  expect((await failed).message).toContain("not connected");
  const ready = nextEvent(provider, ProviderEvents.Ready);
  await server.start();
  expect((await ready).message).toContain("revision 2");
});

test("5.1.1: a change is signalled once it can be read, and one that changes nothing held is not", async () => {
  const server = await serving();
  const { provider, client } = await connect(server);
  const read: unknown[] = [];
  provider.events.addHandler(ProviderEvents.ConfigurationChanged, (details) => {
    read.push([details?.flagsChanged, provider.version("support-agent"), provider.writesAllowed({ agent: "any" })]);
  });
  server.change([], []); // What a scoped token sees of somebody else's change.
  server.put(rolledBack(), killSwitch("*"));
  await server.until(() => server.messages("applied").some(({ revision }) => revision === 3));
  expect(read).toEqual([[["support-agent", "writes_disabled"], "support-agent@2.3.3", false]]);
  expect(await client.getBooleanValue("writes_disabled", false)).toBe(true);
});

test("5.1.4, 5.1.5: an error event says what is wrong, and carries an error code of OpenFeature's", async () => {
  const server = await serving();
  const { provider } = await connect(server, { errorGraceMs: 20 });
  const failed = nextEvent(provider, ProviderEvents.Error);
  await server.stop();
  expect(await failed).toEqual({
    errorCode: ErrorCode.GENERAL,
    message: expect.stringMatching(/not connected to the server.* 20 ms/),
  });
});

test("5.3.1: READY handlers run once for an initialize that ends well: the SDK runs them, and we do not again", async () => {
  const server = await serving();
  closeOpenFeature();
  const client = OpenFeature.getClient();
  const ready: (EventDetails | undefined)[] = [];
  client.addHandler(ProviderEvents.Ready, (details) => void ready.push(details));
  const { provider } = fakeProvider(server);
  await OpenFeature.setProviderAndWait(provider);
  const changed = nextEvent(provider, ProviderEvents.ConfigurationChanged);
  server.put(killSwitch("*"));
  await changed;
  expect(ready).toHaveLength(1);
  expect(client.providerStatus).toBe(ProviderStatus.READY);
});

test("5.3.2: ERROR handlers run once for an initialize that fails, and READY ones when we connect after all", async () => {
  const server = await serving();
  await server.stop();
  closeOpenFeature();
  const client = OpenFeature.getClient();
  const failures: (EventDetails | undefined)[] = [];
  client.addHandler(ProviderEvents.Error, (details) => void failures.push(details));
  const { provider } = fakeProvider(server, { initTimeoutMs: 20 });
  await expect(OpenFeature.setProviderAndWait(provider)).rejects.toMatchObject({ code: "unreachable" });
  expect(client.providerStatus).toBe(ProviderStatus.ERROR);
  const ready = new Promise((resolve) => client.addHandler(ProviderEvents.Ready, resolve));
  await server.start();
  await ready;
  expect(client.providerStatus).toBe(ProviderStatus.READY);
  expect(failures.map((details) => details?.message)).toEqual([expect.stringContaining("within 20 ms")]);
});
