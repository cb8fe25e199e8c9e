/**
 * A provider on a fake server, for tests of runs: `support-agent` and `planner`, each with a candidate at half of the weight.
 */
import { FlagbackProvider, type FlagbackProviderOptions } from "@flagback/provider";
import type { RuntimeDocument } from "@flagback/schemas";
import { OpenFeature, ProviderEvents } from "@openfeature/server-sdk";
import { onTestFinished } from "vitest";
import { alias, CANDIDATE, flag, killSwitch } from "./documents.ts";
import { FakeServer, TOKEN } from "./fake-server.ts";

/** The provider's domain in OpenFeature. */
const DOMAIN = "agents";

export interface ToolkitSetup {
  readonly server: FakeServer;
  readonly provider: FlagbackProvider;
  /** What the provider logged. */
  readonly said: readonly string[];
  client(): ReturnType<typeof OpenFeature.getClient>;
  /** A change that the provider has taken in. */
  change(...documents: RuntimeDocument[]): Promise<void>;
  /** A conversation that is served the candidate of the alias. */
  candidateConversation(key?: string): string;
}

/** Started for one test, and stopped after it. */
export async function startToolkit(options: Partial<FlagbackProviderOptions> = {}): Promise<ToolkitSetup> {
  const server = await new FakeServer().start();
  server.hold(
    alias(),
    alias({ key: "planner", salt: "planner" }),
    killSwitch(),
    flag("greeting", { variants: { a: "hi" }, defaultVariant: "a" }),
  );
  const said: string[] = [];
  const logger = { warn: (message: string) => said.push(message), error: (message: string) => said.push(message) };
  const provider = new FlagbackProvider({ url: server.url, token: TOKEN, logger, ...options });
  await OpenFeature.setProviderAndWait(DOMAIN, provider);
  onTestFinished(async () => {
    await OpenFeature.close();
    await OpenFeature.clearProviders();
    await server.stop();
  });
  return {
    server,
    provider,
    said,
    client: () => OpenFeature.getClient(DOMAIN),
    change: async (...documents) => {
      const told = new Promise<void>((resolve) => {
        const handler = () => {
          provider.events.removeHandler(ProviderEvents.ConfigurationChanged, handler);
          resolve();
        };
        provider.events.addHandler(ProviderEvents.ConfigurationChanged, handler);
      });
      server.put(...documents);
      await told;
    },
    candidateConversation: (key = "support-agent") => {
      const found = Array.from({ length: 100 }, (_, i) => `conversation-${i}`).find(
        (id) => provider.version(key, id) === CANDIDATE,
      );
      if (found === undefined) throw new Error(`nobody of a hundred is served the candidate of ${key}`);
      return found;
    },
  };
}
