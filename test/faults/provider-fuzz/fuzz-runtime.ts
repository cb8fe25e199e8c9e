/**
 * One runtime: its provider as an application uses it, under attack, and the checker that sees what it does.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { FlagbackProvider, type FlagbackProviderOptions } from "@flagback/provider";
import { type Client, OpenFeature, ProviderEvents } from "@openfeature/server-sdk";
import type { Upstream } from "../../support/frame-gateway.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { Attack } from "./attack.ts";
import { RuntimeChecker } from "./checker.ts";
import type { Began, ProviderStatus, RuntimeEvent, Violation } from "./history.ts";
import { describeEvent, heardEvent, pollAnsweredEvent, polledEvent, sentEvent } from "./observed.ts";

import type { CacheDamage } from "./schedule.ts";

/** Events that are kept to show what led to a violation. */
const KEPT_EVENTS = 60;
const ERROR_GRACE_MS = 1_000;
const INIT_TIMEOUT_MS = 500;
const CLOSE_TIMEOUT_MS = 300;

export interface FoundViolation extends Violation {
  readonly runtime: string;
  /** What came before it, newest last. */
  readonly before: readonly string[];
}

interface RuntimeParts {
  readonly name: string;
  readonly attack: Attack;
  readonly seed: number;
  readonly found: (violation: FoundViolation) => void;
  readonly options: Partial<FlagbackProviderOptions> & { readonly cacheFile: string };
}

export class FuzzRuntime {
  readonly name: string;
  readonly attack: Attack;
  readonly client: Client;
  readonly #checker = new RuntimeChecker();
  readonly #found: (violation: FoundViolation) => void;
  readonly #recent: string[] = [];
  readonly #random: SeededRandom;
  readonly #options: RuntimeParts["options"];
  #provider: FlagbackProvider;
  #evaluations = 0;
  #polls = 0;

  private constructor(parts: RuntimeParts) {
    this.name = parts.name;
    this.attack = parts.attack;
    this.#found = parts.found;
    this.#random = new SeededRandom(parts.seed);
    this.#options = parts.options;
    this.client = OpenFeature.getClient(parts.name);
    this.#provider = this.#newProvider();
  }

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
    const cacheFile = join(await mkdtemp(join(tmpdir(), "flagback-fuzz-")), "cache");
    runtime = new FuzzRuntime({ name, attack, seed, found, options: { ...options, cacheFile } });
    await runtime.#begin();
    return runtime;
  }

  get provider(): FlagbackProvider {
    return this.#provider;
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

  /** As if its process had ended and another had begun. Nobody may evaluate meanwhile. */
  async restart(damage: CacheDamage): Promise<void> {
    await this.#provider.onClose();
    await this.#damage(damage);
    this.observe({ kind: "restarted" });
    this.#provider = this.#newProvider();
    await this.#begin();
  }

  async close(): Promise<void> {
    this.attack.end();
    await this.#provider.onClose();
    await this.attack.close();
    await rm(dirname(this.#options.cacheFile), { recursive: true, force: true });
  }

  /** Where nothing answers in time and no cache helps, it rejects and goes on trying. */
  async #begin(): Promise<void> {
    await OpenFeature.setProviderAndWait(this.name, this.#provider).catch(() => undefined);
  }

  #newProvider(): FlagbackProvider {
    const provider = new FlagbackProvider({
      url: this.attack.url,
      token: "fb_runtime_that_the_gateway_replaces",
      random: this.#random.fraction,
      errorGraceMs: ERROR_GRACE_MS,
      initTimeoutMs: INIT_TIMEOUT_MS,
      closeTimeoutMs: CLOSE_TIMEOUT_MS,
      logger: {
        warn: () => undefined,
        // An outage is no error of ours; what the provider calls internal is.
        error: (message) => {
          if (/internal error|could not be evaluated/.test(message)) this.escaped("the provider's log", message);
        },
      },
      ...this.#options,
    });
    const says = (status: ProviderStatus) => () => {
      if (provider === this.#provider) this.observe({ kind: "status", status, atMs: performance.now() });
    };
    provider.events.addHandler(ProviderEvents.Ready, says("ready"));
    provider.events.addHandler(ProviderEvents.Stale, says("stale"));
    provider.events.addHandler(ProviderEvents.Error, says("error"));
    return provider;
  }

  async #damage(damage: CacheDamage): Promise<void> {
    const { cacheFile } = this.#options;
    switch (damage) {
      case "none":
        return;
      case "gone":
        return rm(cacheFile, { force: true });
      case "overwritten":
        return writeFile(cacheFile, this.#random.hex(200));
      case "cut": {
        const whole = await readFile(cacheFile).catch(() => Buffer.alloc(0));
        return writeFile(cacheFile, whole.subarray(0, this.#random.int(0, whole.length)));
      }
    }
  }
}
