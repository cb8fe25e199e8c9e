/**
 * One runtime: its provider as an application uses it, a network that breaks, and a gateway that sees what is said.
 */
import { FlagbackProvider, withRun } from "@flagback/provider";
import { decodeRuntimeFrame, decodeServerFrame, type RuntimeMessage, type ServerMessage } from "@flagback/schemas";
import { ProviderEvents } from "@openfeature/server-sdk";
import { FrameGateway, type Upstream } from "../../support/frame-gateway.ts";
import { NetworkProxy } from "../../support/network-proxy.ts";
import { SeededRandom } from "../../support/seeded-random.ts";
import { JumpingClock } from "../lease-bound/jumping-clock.ts";
import { machineMs } from "../lease-bound/machine-clock.ts";
import { type Audience, audienceOf, badOf, goodOf, NO_VERSION } from "./cast.ts";
import type { ChaosEvent } from "./history.ts";
import type { RuntimeFault } from "./schedule.ts";

/** Delays of reconnects are shorter by this, so that a round has many of them. */
const IMPATIENCE = 0.2;
const CLOSE_TIMEOUT_MS = 200;
const INIT_TIMEOUT_MS = 2_000;
/** Share of failed runs; a good candidate has its bad moments. */
const FAILURES = { bad: 0.7, good: 0.02, inABadMoment: 0.4, stable: 0.02 };
/** A bad moment comes so often, and lasts for so long. */
const BAD_MOMENT = { everyMs: 3_000, forMs: 300 };

type Record = (event: ChaosEvent) => void;
type Read = Extract<ChaosEvent, { kind: "read" }>;

interface Link {
  instance: string;
  epoch: string;
}

export class ChaosRuntime {
  readonly #number: number;
  readonly #audience: Audience;
  readonly #key: string;
  readonly #record: Record;
  readonly #random: SeededRandom;
  readonly #gateway: FrameGateway;
  readonly #proxy: NetworkProxy;
  readonly #clock = new JumpingClock();
  readonly #links = new Map<number, Link>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #runs = new Set<Promise<void>>();
  #provider!: FlagbackProvider;
  #status = "not ready";
  #acknowledged = 0;
  #read: Read | null = null;
  /** A connection lost bytes, or a frame that was held back: nothing but its end helps. */
  #isBroken = false;

  private constructor(number: number, seed: number, record: Record, gateway: FrameGateway, proxy: NetworkProxy) {
    this.#number = number;
    this.#audience = audienceOf(number);
    this.#key = `somebody-${number}`;
    this.#record = record;
    this.#random = new SeededRandom(seed);
    this.#gateway = gateway;
    this.#proxy = proxy;
  }

  static async open(number: number, seed: number, upstream: () => Upstream, record: Record): Promise<ChaosRuntime> {
    let runtime: ChaosRuntime | undefined;
    const gateway = await FrameGateway.start(upstream, {
      opened: () => undefined,
      sent: (link, text) => {
        if (runtime) runtime.#sent(link, text ?? "");
      },
      heard: (link, text) => {
        if (runtime) runtime.#heard(link, text);
      },
      asked: () => undefined,
      answered: () => undefined,
    });
    runtime = new ChaosRuntime(number, seed, record, gateway, await NetworkProxy.start(() => gateway.url));
    await runtime.#begin();
    return runtime;
  }

  /** What it answers now becomes part of the history. */
  read(): void {
    const { agent } = this.#audience;
    const acknowledged = this.#acknowledged;
    const firstMs = machineMs();
    const version = this.#provider.version(agent, this.#key);
    const mayWrite = this.#provider.writesAllowed({ ...this.#audience });
    const last = this.#read;
    if (last?.version === version && last.mayWrite === mayWrite && last.acknowledged === acknowledged) {
      this.#read = { ...last, lastMs: firstMs };
      return;
    }
    this.tell();
    const runtime = this.#number;
    this.#read = { kind: "read", runtime, acknowledged, version, mayWrite, firstMs, lastMs: firstMs };
  }

  /** Hands over what was read so far. */
  tell(): void {
    if (this.#read) this.#record(this.#read);
    this.#read = null;
  }

  /** One run of the agent, as it comes. */
  run(): void {
    const run = this.#runOnce()
      .catch((error: unknown) => this.#escaped("a run", error))
      .finally(() => this.#runs.delete(run));
    this.#runs.add(run);
  }

  perform(fault: RuntimeFault): void {
    switch (fault.kind) {
      case "cut":
        return this.#proxy.cut(fault.ending);
      case "cutAfter":
        return this.#proxy.cutAfter(fault.bytes);
      case "partition":
        this.#isBroken ||= fault.loss === "lose";
        this.#proxy.partition(fault.directions, fault.loss);
        return this.#later(fault.forMs, () => this.#proxy.heal());
      case "delay":
        this.#proxy.delay(fault.ms);
        return this.#later(fault.forMs, () => this.#proxy.delay(0));
      case "runtimeClockJump":
        return this.#clock.jump(fault.ms);
      case "duplicatedBatch":
        return this.#gateway.spoilBatch((text) => (isBatch(text) ? [text, text] : null));
      case "reorderedBatch":
        return this.#gateway.reorderBatches(isBatch, () => {
          this.#isBroken = true;
        });
      case "restartedRuntime":
        void this.#restart();
    }
  }

  /** From here on nothing is broken. Resolves when no run is under way. */
  async heal(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#gateway.behave();
    this.#proxy.heal();
    if (this.#isBroken) this.#proxy.cut("reset");
    this.#isBroken = false;
    await Promise.all([...this.#runs, this.#restarting]);
  }

  /** What keeps it from being in step with a server at the revision; undefined where nothing does. */
  lag(revision: number): string | undefined {
    const { pending } = this.#provider.outcomeStatistics;
    if (this.#provider.revision !== revision) return `it holds ${this.#provider.revision}, the server ${revision}`;
    if (this.#acknowledged !== revision) return `it acknowledged ${this.#acknowledged}, the server is at ${revision}`;
    if (this.#status !== "ready") return `it is ${this.#status}`;
    return pending === 0 ? undefined : `${pending} outcomes wait`;
  }

  async close(): Promise<void> {
    await this.heal();
    await this.#provider.onClose();
    await this.#proxy.close();
    await this.#gateway.close();
  }

  #restarting: Promise<void> = Promise.resolve();

  /** As if its process ended and another began; what was not acknowledged goes with it. */
  #restart(): Promise<void> {
    this.#restarting = this.#restarting.then(async () => {
      await this.#provider.onClose();
      this.tell();
      this.#acknowledged = 0;
      await this.#begin();
    });
    return this.#restarting;
  }

  /** Where no server answers in time it goes on trying. */
  async #begin(): Promise<void> {
    const provider = new FlagbackProvider({
      url: this.#proxy.url,
      token: "fb_runtime_that_the_gateway_replaces",
      clock: this.#clock,
      random: () => this.#random.fraction() * IMPATIENCE,
      initTimeoutMs: INIT_TIMEOUT_MS,
      closeTimeoutMs: CLOSE_TIMEOUT_MS,
      logger: {
        warn: () => undefined,
        error: (message) => {
          // An outage is no error of ours; what the provider calls internal is.
          if (/internal/.test(message)) this.#escaped("the provider's log", message);
        },
      },
    });
    const is = (status: string) => () => {
      if (provider === this.#provider) this.#status = status;
    };
    provider.events.addHandler(ProviderEvents.Ready, is("ready"));
    provider.events.addHandler(ProviderEvents.Stale, is("stale"));
    provider.events.addHandler(ProviderEvents.Error, is("in error"));
    this.#provider = provider;
    await provider.initialize().then(is("ready"), is("not ready"));
  }

  async #runOnce(): Promise<void> {
    const { agent } = this.#audience;
    await withRun({ provider: this.#provider, agent, conversationId: this.#key }, async (run) => {
      const version = await run.pin(agent, NO_VERSION);
      if (this.#random.chance(0.3)) await this.#passed(this.#random.between(0, 300));
      run.report({ status: this.#random.chance(failuresOf(agent, version)) ? "failure" : "success" });
    });
  }

  #passed(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  #later(afterMs: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, afterMs);
    this.#timers.add(timer);
  }

  /** The server's frame, before the runtime can react to it. */
  #sent(number: number, text: string): void {
    if (!/^\{"type":"(hello|outcomesAck)"/.test(text)) return;
    const decoded = decodeServerFrame(text);
    const link = this.#links.get(number);
    if (decoded.kind !== "message" || !link) return this.#escaped("the server", `it sent ${text.slice(0, 200)}`);
    this.#said(link, decoded.message);
  }

  #said(link: Link, message: ServerMessage): void {
    const { instance } = link;
    const atMs = machineMs();
    if (message.type === "hello") {
      const { epoch, revision, outcomesThrough: through } = message;
      link.epoch = epoch;
      this.#record({ kind: "greeted", atMs, instance, epoch, revision, through });
    } else if (message.type === "outcomesAck") {
      const refused = (message.rejected ?? []).map(({ seq, index, code }) => ({ seq, index, code }));
      this.#record({ kind: "acknowledged", atMs, instance, through: message.through, refused });
    }
  }

  #heard(number: number, text: string): void {
    const decoded = decodeRuntimeFrame(text);
    if (decoded.kind !== "message") return this.#escaped("the provider", `it sent ${text.slice(0, 200)}`);
    this.#reacted(number, decoded.message);
  }

  #reacted(number: number, message: RuntimeMessage): void {
    const atMs = machineMs();
    if (message.type === "hello") {
      const { instance, resume } = message;
      this.#links.set(number, { instance, epoch: "" });
      this.#links.delete(number - KEPT_LINKS);
      if (resume) this.#applied({ kind: "applied", atMs, instance, epoch: resume.epoch, revision: resume.revision });
      return;
    }
    const { instance, epoch } = this.#links.get(number) as Link;
    if (message.type === "applied") {
      this.#applied({ kind: "applied", atMs, instance, epoch, revision: message.revision });
    } else if (message.type === "outcomes") {
      this.#record({
        kind: "reported",
        atMs,
        instance,
        seq: message.seq,
        announced: message.assigned
          .filter(({ version }) => version !== NO_VERSION)
          .map(({ alias: agent, version, n }) => ({ agent, version, n })),
        runs: (message.items as readonly Item[]).flatMap(({ alias: agent, version, runId, status }, index) => {
          return version === NO_VERSION ? [] : [{ agent, version, runId, index, isFailure: status === "failure" }];
        }),
      });
    }
  }

  #applied(event: Extract<ChaosEvent, { kind: "applied" }>): void {
    this.#record(event);
    // What an instance says that is gone binds the new one to nothing.
    if (event.instance === this.#provider.instance) this.#acknowledged = Math.max(this.#acknowledged, event.revision);
  }

  #escaped(who: string, error: unknown): void {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#record({ kind: "escaped", atMs: machineMs(), who: `runtime ${this.#number}, ${who}`, detail });
  }
}

function failuresOf(agent: string, version: string): number {
  if (version === badOf(agent)) return FAILURES.bad;
  if (version !== goodOf(agent)) return FAILURES.stable;
  return machineMs() % BAD_MOMENT.everyMs < BAD_MOMENT.forMs ? FAILURES.inABadMoment : FAILURES.good;
}

/** Connections whose late frames are still understood. */
const KEPT_LINKS = 10;

/** An outcome on its way, as far as it is looked at. */
interface Item {
  readonly alias: string;
  readonly version: string;
  readonly runId: string;
  readonly status: string;
}

function isBatch(text: string): boolean {
  return text.startsWith('{"type":"outcomes"');
}
