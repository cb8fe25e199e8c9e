/**
 * A provider on a fake server, for tests of runs: `support-agent` and `planner`, each with a candidate at half of the weight.
 */
import type { FlagbackProvider, FlagbackProviderOptions } from "@flagback/provider";
import type { RuntimeDocument } from "@flagback/schemas";
import { type Client, ProviderEvents } from "@openfeature/server-sdk";
import { alias, CANDIDATE, flag, killSwitch } from "./documents.ts";
import type { FakeServer } from "./fake-server.ts";
import { connect, fakeServer, nextEvent } from "./harness.ts";

export interface ToolkitSetup {
  readonly server: FakeServer;
  readonly provider: FlagbackProvider;
  /** What the provider logged. */
  readonly said: readonly string[];
  client(): Client;
  /** A change that the provider has taken in. */
  change(...documents: RuntimeDocument[]): Promise<void>;
  /** A conversation that is served the candidate of the alias. */
  candidateConversation(key?: string): string;
}

/** Started for one test, and stopped after it. */
export async function startToolkit(
  options: Partial<FlagbackProviderOptions> = {},
  { leaseMs = 15_000 } = {},
): Promise<ToolkitSetup> {
  const server = await fakeServer(
    alias(),
    alias({ key: "planner", salt: "planner" }),
    killSwitch(),
    flag("greeting", { variants: { a: "hi" }, defaultVariant: "a" }),
  );
  server.leaseMs = leaseMs;
  // Closing waits for all outcomes, also on a busy machine.
  const { provider, client, logged } = await connect(server, { closeTimeoutMs: 20_000, ...options });
  return {
    server,
    provider,
    said: logged,
    client: () => client,
    change: async (...documents) => {
      const told = nextEvent(provider, ProviderEvents.ConfigurationChanged);
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
