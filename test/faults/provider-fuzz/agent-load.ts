/**
 * What applications do with a runtime all the time: evaluations of every kind, runs with tools and outcomes, and some misuse.
 */
import { guardTools, OUTCOME_EVENT, WRITE_DENIED, withRun } from "@flagback/provider";
import { SeededRandom } from "../../support/seeded-random.ts";
import type { FuzzRuntime } from "./fuzz-runtime.ts";
import type { Answer } from "./history.ts";
import { ALIAS, ATTRIBUTES, FLAGS, WRITE_SWITCH } from "./world.ts";

/** A caller's default, which no server serves. */
const FALLBACK = "caller-default";
const KEYS = Array.from({ length: 40 }, (_, i) => `conversation-${i}`);
/** Runs that are open at once, for each runtime. */
const MAX_OPEN_RUNS = 8;

class AgentFailure extends Error {}

export class AgentLoad {
  readonly #runtime: FuzzRuntime;
  readonly #random: SeededRandom;
  readonly #runs = new Set<Promise<void>>();
  #isOver = false;
  #working: Promise<void> = Promise.resolve();
  #finishedRuns = 0;

  constructor(runtime: FuzzRuntime, seed: number) {
    this.#runtime = runtime;
    this.#random = new SeededRandom(seed);
  }

  get finishedRuns(): number {
    return this.#finishedRuns;
  }

  start(): void {
    this.#isOver = false;
    this.#working = this.#work();
  }

  /** Waits for the runs that are open. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#working;
    await Promise.all(this.#runs);
  }

  async #work(): Promise<void> {
    while (!this.#isOver) {
      for (let i = 0; i < 5; i++) this.#readAtOnce();
      await this.#read();
      await this.#misuse();
      if (this.#runs.size < MAX_OPEN_RUNS && this.#random.chance(0.2)) this.#run();
      // Lets everything else happen; without a pause four runtimes would take a whole core.
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  #readAtOnce(): void {
    const { provider } = this.#runtime;
    this.#guarded("a synchronous read", () => {
      const began = this.#runtime.begin();
      const version = provider.version(ALIAS, this.#random.pick(KEYS));
      if (version !== null) this.#answered(began, { kind: "version", alias: ALIAS, version, reason: null });
      const attributes = this.#random.pick(ATTRIBUTES);
      const beganWrite = this.#runtime.begin();
      if (provider.writesAllowed(attributes)) {
        this.#answered(beganWrite, { kind: "writeAllowed", switchKey: WRITE_SWITCH, attributes });
      }
    });
  }

  /** Through OpenFeature. */
  async #read(): Promise<void> {
    const { client } = this.#runtime;
    const targetingKey = this.#random.pick(KEYS);
    const attributes = this.#random.pick(ATTRIBUTES);
    await this.#guardedLater("an evaluation", async () => {
      const began = this.#runtime.begin();
      const { value, reason = "", flagMetadata } = await client.getStringDetails(ALIAS, FALLBACK, { targetingKey });
      // An impostor's flag may have the alias's name; only an alias answers with a role.
      const isServed = flagMetadata.role !== undefined && value !== FALLBACK;
      if (isServed) this.#answered(began, { kind: "version", alias: ALIAS, version: value, reason });
      const beganWrite = this.#runtime.begin();
      if (!(await client.getBooleanValue(WRITE_SWITCH, true, attributes))) {
        this.#answered(beganWrite, { kind: "writeAllowed", switchKey: WRITE_SWITCH, attributes });
      }
      this.#runtime.begin();
      await client.getObjectDetails(ALIAS, {}, { targetingKey });
    });
  }

  /** What an application gets wrong. Nothing of it may be answered by an exception. */
  async #misuse(): Promise<void> {
    const { client, provider } = this.#runtime;
    const cyclic: Record<string, unknown> = { agent: ALIAS };
    cyclic.self = cyclic;
    const context = this.#random.pick<object>([{ targetingKey: 7 }, { targetingKey: "" }, cyclic, { agent: null }, {}]);
    const flag = this.#random.pick([...FLAGS, "missing", ""]);
    await this.#guardedLater("a misused evaluation", async () => {
      for (let i = 0; i < 4; i++) this.#runtime.begin();
      await client.getBooleanValue(ALIAS, true, context as never);
      await client.getStringValue(flag, FALLBACK, context as never);
      await client.getNumberValue(flag, 1, context as never);
      await client.getObjectValue(flag, {}, context as never);
      client.track(OUTCOME_EVENT, context as never, this.#random.pick<object>([{}, { status: 7 }, cyclic]) as never);
      provider.version("", undefined);
      provider.writesAllowed(context as never);
    });
  }

  #run(): void {
    const seed = this.#random.seed();
    const run = this.#guardedLater("a run", () => this.#runOnce(new SeededRandom(seed))).finally(() => {
      this.#runs.delete(run);
      this.#finishedRuns += 1;
    });
    this.#runs.add(run);
  }

  async #runOnce(random: SeededRandom): Promise<void> {
    const { client } = this.#runtime;
    const failure = random.chance(0.1) ? new AgentFailure("the agent's own") : null;
    const tools = this.#tools();
    try {
      await withRun({ client, agent: ALIAS, conversationId: random.pick(KEYS) }, async (run) => {
        const began = this.#runtime.begin();
        const { version, role } = await run.pinned(ALIAS, FALLBACK);
        const isServed = role !== undefined && version !== FALLBACK;
        if (isServed) this.#answered(began, { kind: "version", alias: ALIAS, version, reason: null });
        for (let step = random.int(0, 3); step > 0; step--) {
          await new Promise((resolve) => setTimeout(resolve, random.int(0, 30)));
          const beganWrite = this.#runtime.begin();
          const said = await tools.refund.execute();
          if (said === WRITE_DENIED) continue;
          const attributes = { agent: ALIAS, tool: "refund" };
          this.#answered(beganWrite, { kind: "writeAllowed", switchKey: WRITE_SWITCH, attributes });
        }
        if (failure) throw failure;
        if (random.chance(0.3)) run.report({ status: random.pick(["success", "failure", "timeout", "cancelled"]) });
      });
    } catch (error) {
      // An agent's own error comes out as it went in, and no other does.
      if (error !== failure) throw error;
    }
  }

  #tools() {
    return guardTools({ refund: { execute: async () => "refunded" } }, { writes: ["refund"] });
  }

  #answered(began: ReturnType<FuzzRuntime["begin"]>, answer: Answer): void {
    this.#runtime.observe({ kind: "answered", began, answer });
  }

  #guarded(where: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#runtime.escaped(where, error);
    }
  }

  async #guardedLater(where: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#runtime.escaped(where, error);
    }
  }
}
