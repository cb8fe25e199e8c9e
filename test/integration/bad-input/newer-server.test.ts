/** A server that speaks a later version 1 than the provider: version 1 grows by types of frames and by fields. */
import type { FlagbackProvider } from "@flagback/provider";
import { describe, expect, test } from "vitest";
import { flag } from "../../provider/documents.ts";
import type { FakeServer } from "../../provider/fake-server.ts";
import { connect, fakeServer } from "../../provider/harness.ts";

describe("a server of a newer version 1", () => {
  test("may send frames of types that nobody knows: they are told once each, and change nothing", async () => {
    const server = await fakeServer(flag("banner", {}));
    const { provider, logged, client } = await connect(server);
    for (const type of ["weather", "weather", "tide", "weather"]) {
      server.broadcastText(JSON.stringify({ type, degrees: 21 }));
    }
    await followsAChange(server, provider);
    expect(await client.getBooleanValue("banner", true)).toBe(false);
    expect(logged).toEqual([expect.stringMatching(/weather.*newer/), expect.stringMatching(/tide.*newer/)]);
    expect(server.upgrades).toBe(1);
  });

  test("may send fields that nobody knows, in frames and in documents: they are nothing to tell", async () => {
    const server = await fakeServer(flag("banner", {}));
    const { provider, logged, client } = await connect(server);
    const mark = "0".repeat(16);
    const put = [{ ...flag("banner", { defaultVariant: "off" }), colour: "red" }];
    server.broadcastText(
      JSON.stringify({ type: "delta", from: 1, revision: 2, mark, put, delete: [], weather: { degrees: 21 } }),
    );
    await server.until(() => server.messages("applied").some(({ revision }) => revision === 2));
    expect(provider.revision).toBe(2);
    expect(await client.getBooleanValue("banner", true)).toBe(false);
    expect(logged).toEqual([]);
    expect(server.upgrades).toBe(1);
  });
});

async function followsAChange(server: FakeServer, provider: FlagbackProvider): Promise<void> {
  server.put(flag("banner", { defaultVariant: "off" }));
  const { revision } = server;
  await server.until(() => server.messages("applied").some((message) => message.revision === revision));
  expect(provider.revision).toBe(revision);
}
