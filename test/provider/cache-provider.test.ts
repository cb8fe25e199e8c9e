/**
 * A provider that starts with a cache file, in the OpenFeature SDK.
 */
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { FlagbackProviderOptions } from "@flagback/provider";
import type { RuntimeDocument, RuntimeKillSwitch } from "@flagback/schemas";
import { OpenFeature, ProviderEvents, ProviderStatus } from "@openfeature/server-sdk";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { decodeCache } from "../../provider/src/cache/codec.ts";
import { eventually, testFolder } from "../support/server.ts";
import { alias, CANDIDATE, flag, killSwitch, rolledBack, STABLE } from "./documents.ts";
import type { FakeServer } from "./fake-server.ts";
import { closeOpenFeature, fakeProvider, fakeServer, nextEvent } from "./harness.ts";

let cacheFile: string;

beforeEach(async () => {
  cacheFile = join(await testFolder(), "cache");
});

const key = (name: string, over: Partial<RuntimeKillSwitch>) => ({ ...killSwitch(), key: name, ...over });
const NEVER = { engage: false, afterMs: 0 };
const ENGAGED = [{ id: "1", scope: "*", reason: "rollback" }];

/** A server that a provider with a cache was in step with, and that is down now. */
async function serverThatWentDown(...documents: RuntimeDocument[]): Promise<FakeServer> {
  const server = await fakeServer(...documents);
  const { provider } = fakeProvider(server, { cacheFile });
  await provider.initialize();
  // Closing waits for a slow disk within bounds only.
  await eventually("it is cached", () => existsSync(cacheFile));
  await provider.onClose();
  await server.stop();
  server.received.length = 0;
  return server;
}

/** Starts a provider that has never seen the server, through the SDK. */
async function coldStart(server: FakeServer, over: Partial<FlagbackProviderOptions> = {}) {
  const { provider, logged } = fakeProvider(server, { cacheFile, ...over });
  closeOpenFeature();
  const client = OpenFeature.getClient();
  const events: string[] = [];
  for (const event of [ProviderEvents.Ready, ProviderEvents.Stale, ProviderEvents.Error] as const) {
    client.addHandler(event, () => void events.push(event));
  }
  await OpenFeature.setProviderAndWait(provider);
  return { provider, logged, client, events };
}

describe("with the server down, a provider starts from its cache", () => {
  test("once the first attempt has failed: READY for a moment, STALE at once, and READY when the server is back", async () => {
    const server = await serverThatWentDown(alias(), killSwitch());
    const { provider, client, events, logged } = await coldStart(server);
    await eventually("it is STALE", () => client.providerStatus === ProviderStatus.STALE);
    expect(events).toEqual([ProviderEvents.Ready, ProviderEvents.Stale]);
    expect(provider.revision).toBe(1);
    expect(logged).toContainEqual(expect.stringMatching(/answering from the cache file, written at 20.* revision 1,/));
    const ready = nextEvent(provider, ProviderEvents.Ready);
    await server.start();
    await ready;
    expect(client.providerStatus).toBe(ProviderStatus.READY);
    expect((await client.getStringDetails("support-agent", "x", { targetingKey: "u" })).reason).toBe("SPLIT");
  });

  test("once `initTimeoutMs` has passed, where the server takes connections and says nothing", async () => {
    const server = await serverThatWentDown(alias(), killSwitch());
    const { connected } = await silence(server);
    // Its time is ours until it has read the file and tries to connect, however slow the machine is.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const starting = coldStart(server, { initTimeoutMs: 50 });
    await connected;
    vi.advanceTimersByTime(50);
    vi.useRealTimers();
    const { client, events } = await starting;
    await eventually("it is STALE", () => client.providerStatus === ProviderStatus.STALE);
    expect(events).toEqual([ProviderEvents.Ready, ProviderEvents.Stale]);
  });

  test("and every answer says STALE: stable, the fail-safe of a kill switch, and flags as they were", async () => {
    const server = await serverThatWentDown(
      alias(),
      killSwitch(),
      key("engaged_stays", { engaged: ENGAGED, failSafe: NEVER }),
      key("released_stays", { failSafe: NEVER }),
      key("fails_late", { failSafe: { engage: true, afterMs: 3_600_000 } }),
      flag("banner", {}),
    );
    const { provider, client } = await coldStart(server);
    for (let user = 0; user < 20; user++) {
      const details = await client.getStringDetails("support-agent", "x", { targetingKey: `user-${user}` });
      expect(details).toMatchObject({ value: STABLE, variant: STABLE, reason: "STALE" });
    }
    const switches = ["writes_disabled", "engaged_stays", "released_stays", "fails_late"];
    const read = await Promise.all(switches.map((name) => client.getBooleanDetails(name, true)));
    expect(read.map(({ value, reason }) => [value, reason])).toEqual([
      [true, "STALE"],
      [true, "STALE"],
      [false, "STALE"],
      [true, "STALE"],
    ]);
    expect(await client.getBooleanDetails("banner", false)).toMatchObject({ value: true, reason: "STALE" });
    expect(provider.writesAllowed()).toBe(false);
  });

  test("and serves stable also where `onLeaseLapse` is `last`, until it has been in step itself", async () => {
    const server = await serverThatWentDown(alias({ onLeaseLapse: "last" }), killSwitch());
    const users = Array.from({ length: 50 }, (_, i) => `user-${i}`);
    const { provider, client } = await coldStart(server);
    const split = () => new Set(users.map((user) => provider.version("support-agent", user)));
    expect(split()).toEqual(new Set([STABLE]));
    expect(provider.keep("support-agent", CANDIDATE)).toBeUndefined();
    server.leaseMs = 200;
    const ready = nextEvent(provider, ProviderEvents.Ready);
    await server.start();
    await ready;
    await server.stop();
    const reason = async () => (await client.getStringDetails("support-agent", "x")).reason;
    await eventually("the lease has lapsed", async () => (await reason()) === "STALE");
    expect(split()).toEqual(new Set([STABLE, CANDIDATE]));
  });

  test("and never serves a version that the cache knows as withdrawn", async () => {
    const server = await serverThatWentDown(rolledBack(), killSwitch("agent=support-agent"));
    const { provider } = await coldStart(server);
    expect(provider.version("support-agent", "u")).toBe(STABLE);
    expect(provider.keep("support-agent", CANDIDATE)).toBeUndefined();
    expect(provider.revocationOf("support-agent", CANDIDATE)).toBe("block_writes");
  });

  test("and answers from it also where the server refuses the token, which `initialize` says", async () => {
    const server = await serverThatWentDown(alias(), killSwitch());
    server.refuses = 401;
    await server.start();
    closeOpenFeature();
    const { provider } = fakeProvider(server, { cacheFile });
    await expect(OpenFeature.setProviderAndWait(provider)).rejects.toMatchObject({ code: "unauthorized" });
    const client = OpenFeature.getClient();
    expect(await client.getStringDetails("support-agent", "x")).toMatchObject({ value: STABLE, reason: "STALE" });
  });
});

describe("when the server is back, the provider takes", () => {
  test("what changed meanwhile, from the place that the cache was at", async () => {
    const server = await serverThatWentDown(alias(), killSwitch());
    server.put(rolledBack(), killSwitch("*"));
    const { provider } = await coldStart(server);
    const changed = nextEvent(provider, ProviderEvents.ConfigurationChanged);
    await server.start();
    expect((await changed).flagsChanged).toEqual(["support-agent", "writes_disabled"]);
    expect(server.messages("hello").map(({ resume }) => resume?.revision)).toEqual([1]);
    expect(provider.revocationOf("support-agent", CANDIDATE)).toBe("block_writes");
  });

  test("everything, where the server's history is another one by now", async () => {
    const server = await serverThatWentDown(alias(), killSwitch());
    server.restore();
    server.hold(alias({ stable: CANDIDATE }));
    const { provider } = await coldStart(server);
    const changed = nextEvent(provider, ProviderEvents.ConfigurationChanged);
    await server.start();
    expect((await changed).flagsChanged).toEqual(["support-agent", "writes_disabled"]);
    expect(provider.version("support-agent")).toBe(CANDIDATE);
  });
});

describe("a provider with a cache file", () => {
  test("that holds nothing yet rejects with the server down, as one without", async () => {
    const server = await fakeServer(alias());
    await server.stop();
    const { provider, logged } = fakeProvider(server, { cacheFile, initTimeoutMs: 20 });
    await expect(provider.initialize()).rejects.toMatchObject({ code: "unreachable" });
    expect(logged).not.toContainEqual(expect.stringContaining("cache"));
  });

  test("that is closed while it reads does not connect, and does when it is started again", async () => {
    const server = await serverThatWentDown(alias(), killSwitch());
    await server.start();
    const upgrades = server.upgrades;
    const { provider } = fakeProvider(server, { cacheFile });
    const starting = provider.initialize();
    const failed = expect(starting).rejects.toMatchObject({ code: "unreachable" });
    await provider.onClose();
    await failed;
    expect(server.upgrades).toBe(upgrades);
    await provider.initialize();
    expect(server.upgrades).toBe(upgrades + 1);
    expect(provider.version("support-agent")).toBe(STABLE);
  });

  test("whose folder is not there works as one without, and says so once", async () => {
    const server = await fakeServer(alias(), killSwitch());
    const { provider, logged } = fakeProvider(server, { cacheFile: join(cacheFile, "none", "cache") });
    await provider.initialize();
    await provider.onClose();
    expect(provider.version("support-agent")).toBe(STABLE);
    expect(logged).toEqual([expect.stringContaining("can't be written")]);
  });
});

/** Takes the server's port and answers nothing, until the test ends. `connected` resolves when somebody connects. */
async function silence(server: FakeServer): Promise<{ readonly connected: Promise<unknown> }> {
  const sockets = new Set<Socket>();
  const mute = createServer((socket) => sockets.add(socket.on("error", () => undefined)));
  mute.listen(Number(new URL(server.url).port), "127.0.0.1");
  await once(mute, "listening");
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    mute.close();
    await once(mute, "close");
  });
  return { connected: once(mute, "connection") };
}

test("no file of before is left when the provider acknowledges that a stable version was replaced", async () => {
  const server = await fakeServer(alias({ stable: CANDIDATE, rollout: null }), killSwitch());
  const { provider } = fakeProvider(server, { cacheFile });
  await provider.initialize();
  await eventually("it is cached", () => stableInFile() === CANDIDATE);

  server.put(rolledBack());
  await server.until(() => server.messages("applied").some(({ revision }) => revision === 2));
  expect(stableInFile()).not.toBe(CANDIDATE);

  await eventually("what follows is cached", () => stableInFile() === STABLE);
});

/** The stable version that a process which starts now would serve; null while there is no file. */
function stableInFile(): string | null {
  if (!existsSync(cacheFile)) return null;
  const decoded = decodeCache(readFileSync(cacheFile));
  if (decoded.kind !== "whole") throw new Error(decoded.problem);
  const found = decoded.documents.find((document) => document.kind === "alias");
  return found?.stable ?? null;
}
