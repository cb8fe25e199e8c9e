/**
 * One runtime: its provider as an application uses it, under attack, and the checker that sees what it does.
 */
import { FlagbackProvider, type FlagbackProviderOptions } from "@flagback/provider";
import { type Client, OpenFeature, ProviderEvents } from "@openfeature/server-sdk";
import type { Upstream } from "../../support/frame-gateway.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { Attack } from "./attack.ts";
import { RuntimeChecker } from "./checker.ts";
import type { Began, ProviderStatus, RuntimeEvent, Violation } from "./history.ts";
import { describeEvent, heardEvent, pollAnsweredEvent, polledEvent, sentEvent } from "./observed.ts";

/** Events that are kept to show what led to a violation. */
const KEPT_EVENTS = 60;
const ERROR_GRACE_MS = 1_000;

export interface FoundViolation extends Violation {
  readonly runtime: string;
  /** What came before it, newest last. */
  readonly before: readonly string[];
}

export class FuzzRuntime {
  readonly name: string;
  readonly attack: Attack;
  readonly provider: FlagbackProvider;
  readonly client: Client;
  readonly #checker = new RuntimeChecker();
  readonly #found: (violation: FoundViolation) => void;
  readonly #recent: string[] = [];
  #status: ProviderStatus = "ready";
  #evaluations = 0;
  #polls = 0;

  private constructor(
    name: string,
    attack: Attack,
    seed: number,
    found: (violation: FoundViolation) => void,
    options: Partial<FlagbackProviderOptions>,
  ) {
    this.name = name;
    this.attack = attack;
    this.#found = found;
    this.provider = new FlagbackProvider({
      url: attack.url,
      token: "fb_runtime_that_the_gateway_replaces",
      random: new SeededRandom(seed).fraction,
      errorGraceMs: ERROR_GRACE_MS,
      logger: {
        warn: () => undefined,
        // An outage is no error of ours; what the provider calls internal is.
        error: (message) => {
          if (/internal error|could not be evaluated/.test(message)) this.escaped("the provider's log", message);
        },
      },
      ...options,
    });
    this.client = OpenFeature.getClient(name);
    const { events } = this.provider;
    events.addHandler(ProviderEvents.Ready, () => this.#statusSaid("ready"));
    events.addHandler(ProviderEvents.Stale, () => this.#statusSaid("stale"));
    events.addHandler(ProviderEvents.Error, () => this.#statusSaid("error"));
  }

  /** In step with the server. */
  static async open(
    name: string,
    seed: number,
    upstream: () => Upstream,
    found: (violation: FoundViolation) => void,
    options: Partial<FlagbackProviderOptions>,
  ): Promise<FuzzRuntime> {
    let runtime: FuzzRuntime | undefined;
    const see = (event: RuntimeEvent | null) => {
      if (event) runtime?.observe(event);
    };
    const attack = await Attack.begin(upstream, {
      opened: (link) => see({ kind: "opened", link }),
      sent: (link, text) => see(sentEvent(link, text, performance.now())),
      heard: (link, text) => see(heardEvent(link, text, performance.now())),
      asked: (path, headers) => see(polledEvent(path, headers, performance.now())),
      answered: (_path, answer) => see(pollAnsweredEvent(answer)),
    });
    runtime = new FuzzRuntime(name, attack, seed, found, options);
    await OpenFeature.setProviderAndWait(name, runtime.provider);
    return runtime;
  }

  /** As the last event said. */
  get status(): ProviderStatus {
    return this.#status;
  }

  get acknowledgements(): number {
    return this.#checker.acknowledgements;
  }

  get evaluations(): number {
    return this.#evaluations;
  }

  get polls(): number {
    return this.#polls;
  }

  /** An evaluation begins. */
  begin(): Began {
    this.#evaluations += 1;
    return this.#checker.begin(performance.now());
  }

  observe(event: RuntimeEvent): void {
    if (event.kind === "polled") this.#polls += 1;
    if (event.kind !== "answered") {
      this.#recent.push(`${performance.now().toFixed(1)} ${describeEvent(event)}`);
      if (this.#recent.length > KEPT_EVENTS) this.#recent.shift();
    }
    for (const violation of this.#checker.observe(event)) this.violated(violation);
  }

  violated(violation: Violation): void {
    this.#found({ ...violation, runtime: this.name, before: [...this.#recent] });
  }

  escaped(where: string, error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.observe({ kind: "escaped", where, error: text });
  }

  async close(): Promise<void> {
    this.attack.end();
    await this.provider.onClose();
    await this.attack.close();
  }

  #statusSaid(status: ProviderStatus): void {
    this.#status = status;
    this.observe({ kind: "status", status, atMs: performance.now() });
  }
}
