/**
 * An agent's side of the wrong inputs: a server with something to serve, and providers that find it or don't.
 */
import { FlagbackProvider, type FlagbackProviderOptions } from "@flagback/provider";
import { type Client, type ErrorCode, OpenFeature } from "@openfeature/server-sdk";
import { expect, onTestFinished } from "vitest";
import { SUPPORT_AGENT, type TestServer, testServer } from "../../support/server.ts";

export const STABLE = "support-agent@2.3.3";

/** A server with a rollout of `support-agent` at half its traffic, and flags beside it. */
export async function agentServer(): Promise<TestServer> {
  const server = await testServer();
  await server.call("POST", "/v1/apply", SUPPORT_AGENT);
  const onOff = { state: "ENABLED", variants: { on: true, off: false }, defaultVariant: "on" };
  const byTenant = { if: [{ "==": [{ var: "tenant" }, "acme"] }, "off", "on"] };
  const flags = {
    banner: onOff,
    byTenant: { ...onOff, targeting: byTenant },
    bySelf: { ...onOff, targeting: { var: "self" } },
  };
  for (const [key, definition] of Object.entries(flags)) {
    expect((await server.call("PUT", `/v1/flags/${key}`, definition)).status).toBe(200);
  }
  return server;
}

function providerOf(options: FlagbackProviderOptions) {
  const logged: string[] = [];
  const say = (message: string) => logged.push(message);
  // Jitter 0: it comes back at once.
  const provider = new FlagbackProvider({ random: () => 0, logger: { warn: say, error: say }, ...options });
  onTestFinished(async () => {
    await OpenFeature.close();
    await OpenFeature.clearProviders();
  });
  return { provider, logged, client: OpenFeature.getClient() };
}

/** A provider that does not get ready. */
export async function misled(options: FlagbackProviderOptions) {
  const made = providerOf({ initTimeoutMs: 50, ...options });
  await expect(OpenFeature.setProviderAndWait(made.provider)).rejects.toThrow();
  return made;
}

/** A provider that is ready, on a real server with a candidate at half its traffic. */
export async function connected() {
  const server = await agentServer();
  const candidate = "support-agent@2.4.0";
  expect((await server.call("POST", "/v1/aliases/support-agent/rollout", { candidate })).status).toBe(200);
  const made = providerOf({ url: server.url, token: await server.token("runtime") });
  await OpenFeature.setProviderAndWait(made.provider);
  return made;
}

/** However often an agent asks, it gets its own values, and may not write. */
export async function expectDefaults(client: Client, provider: FlagbackProvider, errorCode: ErrorCode): Promise<void> {
  for (let call = 0; call < 20; call++) {
    const context = { targetingKey: `user-${call}` };
    expect(await client.getStringDetails("support-agent", "mine", context)).toMatchObject({ value: "mine", errorCode });
    expect(await client.getBooleanDetails("writes_disabled", true)).toMatchObject({ value: true, errorCode });
    expect(provider.writesAllowed({ agent: "support-agent" })).toBe(false);
    expect(provider.version("support-agent", `user-${call}`)).toBeNull();
  }
}
