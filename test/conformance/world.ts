/**
 * What one scenario works with: the real provider in the OpenFeature SDK, connected to the real server over a
 * network that can fail.
 */
import { FlagbackProvider, type FlagbackProviderOptions } from "@flagback/provider";
import {
  AsyncLocalStorageTransactionContextPropagator,
  type Client,
  type EvaluationContext,
  type EvaluationDetails,
  type FlagValue,
  type Hook,
  OpenFeature,
  ProviderEvents,
} from "@openfeature/server-sdk";
import { NetworkProxy } from "../support/network-proxy.ts";
import type { CaseWorld } from "./run-cases.ts";
import type { SpecServer } from "./spec-server.ts";

export type FlagType = "boolean" | "string" | "integer" | "float" | "object";
export const LEVELS = ["API", "Transaction", "Client", "Invocation", "Before Hooks"] as const;
export type Level = (typeof LEVELS)[number];

const SILENT = { error() {}, warn() {}, info() {}, debug() {} };

/** The provider as it is, which also remembers the context that an evaluation reached it with. */
class ContextRecorder extends FlagbackProvider {
  lastContext: EvaluationContext | null = null;

  override resolveBooleanEvaluation(flagKey: string, defaultValue: boolean, context: EvaluationContext) {
    this.lastContext = context;
    return super.resolveBooleanEvaluation(flagKey, defaultValue, context);
  }
}

export class SpecWorld implements CaseWorld {
  readonly client: Client;
  flag: { readonly type: FlagType; readonly key: string; readonly fallback: FlagValue } | null = null;
  readonly contexts: Record<Level, EvaluationContext> = {
    API: {},
    Transaction: {},
    Client: {},
    Invocation: {},
    "Before Hooks": {},
  };
  /** The levels that the scenario names, lowest precedence first. */
  levels: readonly string[] = [];
  readonly optionHooks: Hook[] = [];
  readonly hookCalls: HookCall[] = [];
  /** A copy of what the scenario must find unchanged. */
  originalContext: EvaluationContext | null = null;
  /** An evaluation that nobody waited for yet, or `turn` where the event loop turned before it answered. */
  pending: Promise<EvaluationDetails<FlagValue> | "turn"> | null = null;
  #details: EvaluationDetails<FlagValue> | null = null;
  #provider: ContextRecorder | null = null;
  readonly #server: SpecServer;
  readonly #network: NetworkProxy;
  readonly #url: string;
  readonly #options: Partial<FlagbackProviderOptions>;

  private constructor(server: SpecServer, network: NetworkProxy, options: Partial<FlagbackProviderOptions>) {
    this.#server = server;
    this.#network = network;
    this.#url = network.url;
    this.#options = options;
    this.client = OpenFeature.getClient();
  }

  static async open(server: SpecServer, options: Partial<FlagbackProviderOptions>): Promise<SpecWorld> {
    OpenFeature.setLogger(SILENT);
    OpenFeature.setTransactionContextPropagator(new AsyncLocalStorageTransactionContextPropagator());
    return new SpecWorld(server, await NetworkProxy.start(() => server.url), options);
  }

  async close(): Promise<void> {
    await OpenFeature.close();
    await OpenFeature.clearProviders();
    OpenFeature.setContext({});
    await this.#network.close();
  }

  async becomeStable(): Promise<void> {
    await OpenFeature.setProviderAndWait(this.#makeProvider());
  }

  /** Under way to a server that does not answer. */
  becomeNotReady(): void {
    this.#network.partition();
    OpenFeature.setProvider(this.#makeProvider({ initTimeoutMs: 60_000 }));
  }

  /** Gave up waiting for a server that can't be reached. */
  async becomeError(): Promise<void> {
    await this.#network.close();
    await rejected(OpenFeature.setProviderAndWait(this.#makeProvider({ initTimeoutMs: 50 })));
  }

  /** Refused by the server for its token. */
  async becomeFatal(): Promise<void> {
    await rejected(OpenFeature.setProviderAndWait(this.#makeProvider({ token: "fb_runtime_00000000_wrong" })));
  }

  /** Cut off from the server after it was ready. */
  async becomeStale(): Promise<void> {
    await this.becomeStable();
    const stale = new Promise<void>((resolve) => this.client.addHandler(ProviderEvents.Stale, () => resolve()));
    await this.#network.close();
    await stale;
  }

  /** Evaluates the scenario's flag through the client, with the contexts and hooks that were set so far. */
  evaluate(): Promise<EvaluationDetails<FlagValue>> {
    const { flag, contexts, client } = this;
    if (!flag) throw new Error("the scenario names no flag");
    OpenFeature.setContext(contexts.API);
    client.setContext(contexts.Client);
    const hooks = [...this.optionHooks, { before: () => contexts["Before Hooks"] }];
    const read = (): Promise<EvaluationDetails<FlagValue>> => {
      const { key, fallback } = flag;
      switch (flag.type) {
        case "boolean":
          return client.getBooleanDetails(key, fallback as boolean, contexts.Invocation, { hooks });
        case "string":
          return client.getStringDetails(key, fallback as string, contexts.Invocation, { hooks });
        case "integer":
        case "float":
          return client.getNumberDetails(key, fallback as number, contexts.Invocation, { hooks });
        case "object":
          return client.getObjectDetails(key, fallback as Record<string, string>, contexts.Invocation, { hooks });
      }
    };
    return new Promise((resolve, reject) => {
      OpenFeature.setTransactionContext(contexts.Transaction, () => void read().then(resolve, reject));
    });
  }

  get details(): EvaluationDetails<FlagValue> {
    if (!this.#details) throw new Error("nothing was evaluated yet");
    return this.#details;
  }

  set details(details: EvaluationDetails<FlagValue>) {
    this.#details = details;
  }

  /** The context with which the last evaluation reached the provider. */
  get mergedContext(): EvaluationContext {
    const context = this.#provider?.lastContext;
    if (!context) throw new Error("no evaluation reached the provider");
    return context;
  }

  #makeProvider(over: Partial<FlagbackProviderOptions> = {}): FlagbackProvider {
    const { token } = this.#server;
    this.#provider = new ContextRecorder({ url: this.#url, token, logger: SILENT, ...this.#options, ...over });
    return this.#provider;
  }
}

export interface HookCall {
  readonly hook: string;
  readonly stage: "before" | "after" | "error" | "finally";
  /** What the stage was given; before has no details yet, and error has an error. */
  readonly details: Readonly<Record<string, unknown>> | null;
}

/** A hook that writes down what happens to it. */
export function recordingHook(hook: string, calls: HookCall[]): Hook {
  return {
    before: () => void calls.push({ hook, stage: "before", details: null }),
    after: (_, details) => void calls.push({ hook, stage: "after", details: { ...details } }),
    error: () => void calls.push({ hook, stage: "error", details: null }),
    finally: (_, details) => void calls.push({ hook, stage: "finally", details: { ...details } }),
  };
}

async function rejected(promise: Promise<unknown>): Promise<void> {
  const outcome = await promise.then(
    () => "resolved",
    () => "rejected",
  );
  if (outcome === "resolved") throw new Error("the provider initialised, where it must not");
}
