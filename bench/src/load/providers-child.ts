/** A process of whole providers, of this project or of flagd: what each change costs the runtimes is in it as well. */
import { FlagbackProvider } from "@flagback/provider";
import { FlagdProvider } from "@openfeature/flagd-provider";
import { type Provider, ProviderEvents } from "@openfeature/server-sdk";
import { sharedNowMs } from "./clock.ts";
import { serve } from "./peer.ts";

const CONNECT_AT_ONCE = 100;
const CONNECT_TIMEOUT_MS = 30_000;
const SILENT = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };

/** Where they connect to; without a token to flagd's stream. */
interface Place {
  readonly port: number;
  readonly token?: string;
}

const providers: Provider[] = [];
let held = 0;
let lastMs = 0;
let onHeld: (() => void) | undefined;

const skills = {
  async connect({ n, ...place }: Place & { n: number }): Promise<void> {
    while (providers.length < n) {
      const some = Array.from({ length: Math.min(CONNECT_AT_ONCE, n - providers.length) }, () => open(place));
      providers.push(...some);
      await Promise.all(some.map((provider) => provider.initialize?.()));
    }
  },
  /** To be called before a change. */
  reset(): void {
    held = 0;
  },
  /** When the last of them had the change in force, on the shared clock. */
  async lastArrival(): Promise<number> {
    while (held < providers.length) {
      await new Promise<void>((resolve) => {
        onHeld = resolve;
      });
    }
    return lastMs;
  },
  async close(): Promise<void> {
    await Promise.all(providers.map((provider) => provider.onClose?.()));
  },
};
export type ProvidersSkills = typeof skills;

function open({ port, token }: Place): Provider {
  const provider: Provider =
    token === undefined
      ? new FlagdProvider(
          { resolverType: "in-process", host: "127.0.0.1", port, deadlineMs: CONNECT_TIMEOUT_MS, streamDeadlineMs: 0 },
          SILENT,
        )
      : new FlagbackProvider({ url: `http://127.0.0.1:${port}`, token });
  provider.events?.addHandler(ProviderEvents.ConfigurationChanged, () => {
    held += 1;
    lastMs = sharedNowMs();
    if (held === providers.length) onHeld?.();
  });
  return provider;
}

serve(skills);
