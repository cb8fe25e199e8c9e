/**
 * What the network, the address and the token can be instead of right: the agent gets its defaults with a code, a person one
 * clear line, and the provider is READY as soon as it can be. Nothing ends its attempts.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { connect as connectTo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createServer as createTlsServer } from "node:tls";
import { fileURLToPath } from "node:url";
import { FlagbackProvider, OUTCOME_EVENT, withRun } from "@flagback/provider";
import { ErrorCode, OpenFeature, ProviderEvents, ProviderStatus } from "@openfeature/server-sdk";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { nextEvent } from "../../provider/harness.ts";
import { selfSigned } from "../../support/self-signed.ts";
import { eventually, testFolder } from "../../support/server.ts";
import { agentServer, expectDefaults, misled, STABLE } from "./agents.ts";
import { front, html, listening, NOWHERE, noHttp, otherProtocol } from "./places.ts";

describe("a provider whose url leads to", () => {
  test.each<[what: string, place: () => string | Promise<string>, line: RegExp]>([
    ["nothing", () => NOWHERE, /no connection to the server \(ECONN/],
    ["a proxy that answers HTML with 200", () => html(200), /answers 200.*flagback server\?$/],
    ["a proxy that answers HTML with 404", () => html(404), /answers 404.*flagback server\?$/],
    ["a proxy that answers HTML with 502", () => html(502), /answers 502/],
    ["a login page", () => html(302), /answers 302.*flagback server\?$/],
    ["something that speaks no HTTP", noHttp, /no connection to the server \(HPE_/],
    ["a server of another subprotocol", () => otherProtocol("flagback.v2"), /speaks another protocol than flagback.v1/],
    ["a server of no subprotocol", () => otherProtocol(false), /speaks another protocol than flagback.v1/],
  ])(
    "%s says so in one line, gives defaults with a code, tries on, and is READY once it leads to the server",
    async (_what, place, line) => {
      const server = await agentServer();
      const way = await front(await place());
      const { provider, logged, client } = await misled({ url: way.url, token: await server.token("runtime") });
      await expectDefaults(client, provider, ErrorCode.PROVIDER_NOT_READY);
      await eventually("several attempts", () => way.attempts() >= 3);
      expect(logged).toEqual([expect.stringMatching(line)]);

      const ready = nextEvent(provider, ProviderEvents.Ready);
      way.leadTo(server.url);
      await ready;
      expect(client.providerStatus).toBe(ProviderStatus.READY);
      expect(await client.getStringValue("support-agent", "mine", { targetingKey: "u" })).toBe(STABLE);
      expect(logged).toHaveLength(1);
    },
  );
});

test.each<[what: string, options: object | undefined, line: RegExp]>([
  ["nothing", undefined, /url is missing.*token is missing/],
  ["no url", { url: "" }, /url is "", not an http or https address/],
  ["a url of another scheme", { url: "ftp://host" }, /url is "ftp:\/\/host", not an http/],
  [
    "a password in a url of another scheme",
    { url: "ftp://me:secret@host?token=x" },
    /url is "\.\.\.@host\?\.\.\.", not/,
  ],
  ["a url without a scheme", { url: "host:7780" }, /url is "host:7780", not an http/],
  ["a token in the url", { url: "http://host?token=x" }, /token goes into the option token/],
  ["no token", { token: "" }, /token is missing/],
  ["a cache file that is no path", { cacheFile: "" }, /cacheFile is no path/],
  ["a cache file that is a number", { cacheFile: 7 }, /cacheFile is no path/],
  ["a negative time", { initTimeoutMs: -1 }, /initTimeoutMs is -1/],
  ["a limit that is no number", { maxOutcomes: "many" }, /maxOutcomes is many/],
])(
  "options with %s are told once and fatal, and throw into nothing that the agent calls",
  async (_what, over, line) => {
    const logged: string[] = [];
    const say = (message: string) => logged.push(message);
    const usable = { url: "http://127.0.0.1:1", token: "t", logger: { warn: say, error: say } };
    // Without any options there is no logger either.
    const consoleError = vi.spyOn(console, "error").mockImplementation(say);
    onTestFinished(() => consoleError.mockRestore());
    const provider = new FlagbackProvider(over === undefined ? (over as never) : { ...usable, ...over });
    onTestFinished(async () => {
      await OpenFeature.close();
      await OpenFeature.clearProviders();
    });
    await expect(OpenFeature.setProviderAndWait(provider)).rejects.toMatchObject({ code: ErrorCode.PROVIDER_FATAL });
    const client = OpenFeature.getClient();
    await expectDefaults(client, provider, ErrorCode.PROVIDER_FATAL);
    const pinned = await withRun({ agent: "support-agent", provider }, (run) => run.pin("support-agent", "mine"));
    expect(pinned).toBe("mine");
    client.track(OUTCOME_EVENT, { targetingKey: "u" }, { status: "success", alias: "support-agent" });
    expect(await provider.sendFeedback([])).toBe("refused");
    await provider.onClose();
    expect(logged.filter((each) => line.test(each))).toHaveLength(1);
  },
);

test("a token that the server refuses is fatal, is told once, and is tried again after minutes: READY once it is known", async () => {
  const [server, other] = [await agentServer(), await agentServer()];
  const way = await front(other.url);
  let jumpMs = 0;
  const clock = { monotonicMs: () => performance.now() + jumpMs, wallMs: () => Date.now() + jumpMs };
  const token = await server.token("runtime");
  const { provider, logged, client } = await misled({ url: way.url, token, clock });
  expect(client.providerStatus).toBe(ProviderStatus.FATAL);
  await expectDefaults(client, provider, ErrorCode.PROVIDER_FATAL);
  expect(logged).toEqual([expect.stringMatching(/refuses the token \(401\).*flagback token/)]);

  const ready = nextEvent(provider, ProviderEvents.Ready);
  way.leadTo(server.url);
  jumpMs = 300_000; // Five minutes, the longest wait between two attempts.
  provider.assign({ alias: "support-agent", version: STABLE, revision: 0 }); // Whatever wakes it looks at the clock.
  await ready;
  expect(client.providerStatus).toBe(ProviderStatus.READY);
  expect(await client.getStringValue("support-agent", "mine", { targetingKey: "u" })).toBe(STABLE);
  expect(logged).toHaveLength(1);
});

test("a server with a certificate of an unknown CA is told in one line, and READY comes once it has a trusted one", async () => {
  const server = await agentServer();
  const trusted = selfSigned();
  const tls = createTlsServer(selfSigned(), (client) => {
    const upstream = connectTo(Number(new URL(server.url).port), "127.0.0.1");
    client.pipe(upstream).pipe(client);
    client.on("error", () => upstream.destroy()).on("close", () => upstream.destroy());
    upstream.on("error", () => client.destroy()).on("close", () => client.destroy());
  });
  let refusals = 0;
  tls.on("tlsClientError", () => {
    refusals += 1;
  });
  const url = (await listening(tls)).replace("http:", "https:");
  const folder = await testFolder();
  const caFile = join(folder, "ca.pem");
  await writeFile(caFile, trusted.cert);

  const { said, ended } = trustingAgent(caFile, url, await server.token("runtime"));
  await eventually("several attempts after the first answers", () => refusals >= 3 && said.length >= 3);
  tls.setSecureContext(trusted);
  await ended;
  const line = /certificate is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\).*NODE_EXTRA_CA_CERTS/;
  const untilThen = [
    { warned: expect.stringMatching(line) },
    { rejected: "unreachable" },
    { defaults: ["mine", ErrorCode.PROVIDER_NOT_READY] },
  ];
  expect(said.slice(0, -1)).toHaveLength(untilThen.length);
  expect(said.slice(0, -1)).toEqual(expect.arrayContaining(untilThen));
  expect(said.at(-1)).toEqual({ ready: STABLE });
});

const AGENT = fileURLToPath(new URL("trusting-agent.ts", import.meta.url));

/** Runs an agent that trusts the certificates of a file. It ends by itself when it is READY. */
function trustingAgent(caFile: string, url: string, token: string) {
  const child = spawn(process.execPath, ["--conditions=flagback:source", "--import", "tsx", AGENT, url, token], {
    env: { ...process.env, NODE_EXTRA_CA_CERTS: caFile },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill());
  const said: unknown[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => said.push(JSON.parse(line)));
  return { said, ended: once(child, "close") };
}
