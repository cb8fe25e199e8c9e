/**
 * The cache file with the real server and real processes: a start while the server is down, and a file that many replace.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FlagbackProvider } from "@flagback/provider";
import { OpenFeature, ProviderStatus } from "@openfeature/server-sdk";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { decodeCache } from "../../provider/src/cache/codec.ts";
import { NetworkProxy } from "../support/network-proxy.ts";
import { eventually, SUPPORT_AGENT, type TestServer, testFolder, testServer } from "../support/server.ts";

const WRITER = fileURLToPath(new URL("cache-writer-process.ts", import.meta.url));
const KILLS = 4;
/** Nobody listens there. */
const NOWHERE = "http://127.0.0.1:1";

let cacheFile: string;

beforeEach(async () => {
  cacheFile = join(await testFolder(), "cache");
});

test("a process that starts while the server is down answers from the cache, and is READY when the server is back", async () => {
  const server = await exposingServer();
  const token = await server.token("runtime");
  const { url, goAway, comeBack } = await addressOf(server);
  await leaveCache(url, token);
  await goAway();

  const { provider, client } = await coldStart(url, token);
  for (let user = 0; user < 20; user++) {
    const details = await client.getStringDetails("support-agent", "none", { targetingKey: `user-${user}` });
    expect(details).toMatchObject({ value: "support-agent@2.3.3", reason: "STALE" });
  }
  expect(await client.getObjectValue("support-agent", {})).toEqual({ prompt: "Be helpful." });
  const writesDisabled = { value: true, variant: "engaged", reason: "STALE" };
  expect(await client.getBooleanDetails("writes_disabled", false)).toMatchObject(writesDisabled);

  const back = await comeBack();
  await eventually("it is READY", () => client.providerStatus === ProviderStatus.READY);
  expect(await client.getBooleanDetails("writes_disabled", true)).toMatchObject({ value: false, reason: "STATIC" });
  expect((await client.getStringDetails("support-agent", "none", { targetingKey: "user" })).reason).toBe("SPLIT");
  const { body } = await back.call<{ revision: number }>("POST", "/v1/stop", { reason: "rehearsal" });
  await eventually("it follows the server", () => provider.revision === body.revision);
  expect(provider.writesAllowed({ agent: "support-agent" })).toBe(false);
});

test("what was withdrawn after the cache was written is withdrawn as soon as the server is back", async () => {
  const server = await exposingServer();
  const token = await server.token("runtime");
  const { url, goAway, comeBack } = await addressOf(server);
  await leaveCache(url, token);
  await server.call("POST", "/v1/aliases/support-agent/rollback", { reason: "it is bad" });
  await goAway();

  const { provider, client } = await coldStart(url, token);
  await comeBack();
  await eventually("it is READY", () => client.providerStatus === ProviderStatus.READY);
  expect(provider.revocationOf("support-agent", "support-agent@2.4.0")).toBe("block_writes");
  await provider.onClose();
  const decoded = decodeCache(await readFile(cacheFile));
  expect(decoded).toMatchObject({ kind: "whole", header: { cursor: { revision: provider.revision } } });
});

test("a damaged cache and another server's are as good as none", async () => {
  const server = await exposingServer();
  const token = await server.token("runtime");
  await leaveCache(server.url, token);
  const other = await testServer();
  const elsewhere = providerOf({ url: other.url, token: await other.token("runtime") });
  await other.close();
  await expect(elsewhere.provider.initialize()).rejects.toMatchObject({ code: "unreachable" });
  expect(elsewhere.provider.revision).toBeNull();
  expect(elsewhere.logged).toContainEqual(expect.stringContaining("is of another server"));

  await truncate(cacheFile, 500);
  const cold = providerOf({ url: server.url, token });
  await cold.provider.initialize();
  expect(cold.provider.version("support-agent")).toBe("support-agent@2.3.3");
  expect(cold.logged).toEqual([expect.stringContaining("it is set aside")]);
  await cold.provider.onClose();
  expect(decodeCache(await readFile(cacheFile)).kind).toBe("whole");
  expect((await readFile(`${cacheFile}.damaged`)).length).toBe(500);
});

test("two processes that replace one file and are killed while they do leave a whole one, each time", async () => {
  for (let kill = 0; kill < KILLS; kill++) {
    const writers = ["http://a", "http://b"].map((server) => writer(server));
    await Promise.all(writers.map((each) => once(each, "message")));
    const servers = new Set<string>();
    let reads = 0;
    await eventually("both have written, again and again", async () => {
      servers.add(await wholeServer());
      reads += 1;
      return servers.size === 2 && reads >= 20;
    });
    for (const each of writers) each.kill("SIGKILL");
    await Promise.all(writers.map((each) => once(each, "exit")));
    await wholeServer();
  }
  // Each killed process leaves one temporary file at most.
  expect((await readdir(join(cacheFile, ".."))).length).toBeLessThanOrEqual(1 + 2 * KILLS);
});

/** Who wrote the file that is there now, which must be whole. */
async function wholeServer(): Promise<string> {
  const decoded = decodeCache(await readFile(cacheFile));
  if (decoded.kind !== "whole") throw new Error(`the file is damaged: ${decoded.problem}`);
  return decoded.header.server;
}

function writer(server: string): ChildProcess {
  const child = spawn(
    process.execPath,
    ["--conditions=flagback:source", "--import", "tsx", WRITER, cacheFile, server],
    {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    },
  );
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  return child;
}

async function exposingServer(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  const started = await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate: "support-agent@2.4.0" });
  expect(started.status).toBe(200);
  return server;
}

/** An address that stays the server's while it is away. Its own port might be taken by then. */
async function addressOf(server: TestServer) {
  let upstream = server.url;
  const proxy = await NetworkProxy.start(() => upstream);
  onTestFinished(() => proxy.close());
  return {
    url: proxy.url,
    goAway: async () => {
      await server.close();
      upstream = NOWHERE;
    },
    comeBack: async (): Promise<TestServer> => {
      const back = await server.restart();
      upstream = back.url;
      return back;
    },
  };
}

/** A process that was in step with the server, and ended. */
async function leaveCache(url: string, token: string): Promise<void> {
  const { provider } = providerOf({ url, token });
  await provider.initialize();
  await provider.onClose();
}

function providerOf({ url, token }: { readonly url: string; readonly token: string }) {
  const logged: string[] = [];
  const say = (message: string) => void logged.push(message);
  const provider = new FlagbackProvider({
    url,
    token,
    cacheFile,
    initTimeoutMs: 2_000,
    logger: { warn: say, error: say },
  });
  onTestFinished(() => provider.onClose());
  return { provider, logged };
}

async function coldStart(url: string, token: string) {
  const { provider } = providerOf({ url, token });
  onTestFinished(async () => {
    await OpenFeature.close();
    await OpenFeature.clearProviders();
  });
  await OpenFeature.setProviderAndWait("cold-start", provider);
  const client = OpenFeature.getClient("cold-start");
  await eventually("it is STALE", () => client.providerStatus === ProviderStatus.STALE);
  return { provider, client };
}
