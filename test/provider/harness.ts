/**
 * A provider in the OpenFeature SDK and a fake server beside it, both gone when the test ends.
 */
import { FlagbackProvider, type FlagbackProviderOptions } from "@flagback/provider";
import type { RuntimeDocument } from "@flagback/schemas";
import { type EventDetails, OpenFeature, type ProviderEvents } from "@openfeature/server-sdk";
import { onTestFinished } from "vitest";
import { CANDIDATE, STABLE } from "./documents.ts";
import { FakeServer, TOKEN } from "./fake-server.ts";

export async function fakeServer(...documents: RuntimeDocument[]): Promise<FakeServer> {
  const server = await new FakeServer().start();
  onTestFinished(() => server.stop());
  server.hold(...documents);
  return server;
}

/** A provider that is not initialised yet, with the lines that it logs. Its jitter is small and always the same. */
export function fakeProvider(server: FakeServer, over: Partial<FlagbackProviderOptions> = {}) {
  const logged: string[] = [];
  const say = (message: string) => logged.push(message);
  const logger = { warn: say, error: say };
  const provider = new FlagbackProvider({ url: server.url, token: TOKEN, logger, random: () => 0.1, ...over });
  onTestFinished(() => provider.onClose());
  return { provider, logged };
}

export async function connect(server: FakeServer, over: Partial<FlagbackProviderOptions> = {}) {
  const { provider, logged } = fakeProvider(server, over);
  closeOpenFeature();
  await OpenFeature.setProviderAndWait(provider);
  return { provider, logged, client: OpenFeature.getClient() };
}

/** Leaves the SDK, of which there is one in a process, as it was. */
export function closeOpenFeature(): void {
  onTestFinished(async () => {
    await OpenFeature.close();
    await OpenFeature.clearProviders();
    OpenFeature.setContext({});
  });
}

/** The next event of its kind, from now on: a handler that the SDK runs at once for the present status does not count. */
export function nextEvent(provider: FlagbackProvider, type: ProviderEvents): Promise<EventDetails> {
  return new Promise((resolve) => {
    const handler = (details?: object) => {
      provider.events.removeHandler(type, handler);
      resolve({ ...details } as EventDetails);
    };
    provider.events.addHandler(type, handler);
  });
}

/** Targeting keys on either side of the even split, found by asking. */
export function keysOf(provider: FlagbackProvider) {
  const keys = Array.from({ length: 100 }, (_, i) => `user-${i}`);
  const find = (version: string) => keys.find((key) => provider.version("support-agent", key) === version) as string;
  return { candidateKey: find(CANDIDATE), stableKey: find(STABLE) };
}
