/**
 * One execution of an agent: which versions it was handed, whether it may write, and how it went.
 */
import type { Attributes } from "@flagback/core/evaluation";
import type { OutcomeStatus } from "@flagback/schemas";
import type { EvaluationContext, EvaluationDetails } from "@openfeature/core";
import type { Client } from "@openfeature/server-sdk";
import type { Clock } from "../clock.ts";
import type { AliasKey } from "../keys.ts";
import type { OutcomeDetails } from "../outcomes/outcome.ts";
import type { OpenRun, RunHost, RunProvider } from "../run-host.ts";
import { type Pin, type PinRef, RunPins } from "./pins.ts";
import { writeRunBaggage } from "./run-baggage.ts";
import { RunOutcome, type ToolCounts } from "./run-outcome.ts";
import { writeRunToken } from "./run-token.ts";

/** How the run went. `status` is all that is needed. */
export type RunReport = OutcomeDetails & { readonly status: OutcomeStatus };

/** What an agent's code sees of its run. */
export interface Run {
  readonly runId: string;
  readonly agent: string;
  readonly targetingKey: string;
  readonly conversationId: string | undefined;
  /** Id of the run that this one is part of. */
  readonly parentRunId: string | undefined;
  /** Aborts when a pinned version was rolled back and its policy says `revoke: abort`, and with the run around this one. */
  readonly signal: AbortSignal;
  /** The version of an alias for this run: asked once, then kept. Never throws; the fallback is used where nothing answers. */
  pin(alias: AliasKey, fallback: string): Promise<string>;
  /** As `pin`, with the payload and what else is known. */
  pinned(alias: AliasKey, fallback: string): Promise<Pin>;
  /** Whether a write may happen now. Read again at each call; fails closed. */
  writesAllowed(extra?: Attributes): boolean;
  /** Reports every version that this run was handed itself. Once; without it, the run's end reports success or failure. */
  report(report: RunReport): void;
  /**
   * The run in a text to store with its conversation: for `reportLater`, and for the next run's `withRun({token})`, which
   * keeps the versions where the alias's policy says `stickiness: conversation`. It is no secret and no permission: whoever
   * alters it can only choose among versions that the server serves now.
   */
  token(): string;
  /**
   * Value of a `baggage` header (W3C) that makes a run in another process part of this one, by `withRun({baggage})`. It says
   * the ids, the agents, the pins and the attributes of `context`, to whoever the request goes to.
   */
  baggage(): string;
}

/** What a run is made of, and what a run inside of it inherits. */
export interface RunParts {
  readonly runId: string;
  readonly parentRunId: string | undefined;
  /** The agents that act in this run: the outermost first, this run's own last. */
  readonly agents: readonly string[];
  readonly targetingKey: string;
  readonly conversationId: string | undefined;
  readonly userId: string | undefined;
  /** What callers said beyond the ids, such as `tenant`. */
  readonly attributes: EvaluationContext;
  /** Everything that evaluations and write checks see. */
  readonly context: EvaluationContext;
  readonly outer: LiveRun | undefined;
  /** Pins of the run in another process that this one is part of. */
  readonly inherited: readonly PinRef[];
  /** Pins of the conversation's last run. */
  readonly conversation: readonly PinRef[];
  /** Members of the baggage that are somebody else's, as they stood. */
  readonly foreignBaggage: readonly string[];
  readonly client: Client | undefined;
  readonly provider: RunProvider | undefined;
  readonly host: RunHost | undefined;
  readonly clock: Clock;
  readonly resolve: (alias: string, fallback: string) => Promise<EvaluationDetails<string>>;
}

export class LiveRun implements Run, OpenRun {
  readonly parts: RunParts;
  readonly agent: string;
  readonly #abort = new AbortController();
  readonly #outcome: RunOutcome;
  readonly #pins: RunPins;
  /** Runs inside of this one that are under way. */
  readonly #inner = new Set<LiveRun>();
  #isOver = false;

  /** @param agent the last of `parts.agents` */
  constructor(agent: string, parts: RunParts) {
    this.agent = agent;
    this.parts = parts;
    this.#outcome = new RunOutcome(parts);
    const { outer } = parts;
    this.#pins = new RunPins({
      ...parts,
      outer: outer ? outer.#pins : undefined,
      onOwn: (pin) => {
        this.#outcome.add(pin);
        // It may have been rolled back while the SDK's hooks ran.
        this.refresh();
      },
    });
    parts.host?.openRun(this);
    if (outer) outer.#inner.add(this);
    this.refresh();
  }

  get runId(): string {
    return this.parts.runId;
  }

  get targetingKey(): string {
    return this.parts.targetingKey;
  }

  get conversationId(): string | undefined {
    return this.parts.conversationId;
  }

  get parentRunId(): string | undefined {
    return this.parts.parentRunId;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** What tools did in this run. */
  get counts(): ToolCounts {
    return this.#outcome.counts;
  }

  async pin(alias: string, fallback: string): Promise<string> {
    return (await this.pinned(alias, fallback)).version;
  }

  pinned(alias: string, fallback: string): Promise<Pin> {
    return this.#pins.get(alias, fallback);
  }

  writesAllowed(extra?: Attributes): boolean {
    const { host, context, agents } = this.parts;
    if (!host || this.#isOver || this.#pins.revoked("block_writes", "abort") !== undefined) return false;
    if (!host.writesAllowed(extra ? { ...context, ...extra } : context)) return false;
    // Whoever called this agent must be allowed to write as well: it writes for them.
    return agents.slice(0, -1).every((agent) => host.writesAllowed({ ...context, ...extra, agent }));
  }

  /** Something about how the run's code is written costs it something. Said once for each key, `topic.problem`. */
  warn(key: string, message: string): void {
    this.parts.host?.warn(key, message);
  }

  report(report: RunReport): void {
    this.#outcome.report(report);
  }

  token(): string {
    return writeRunToken({
      ...this.parts,
      agent: this.agent,
      own: this.#pins.own(),
      pins: this.#pins.forConversation(),
    });
  }

  baggage(): string {
    return writeRunBaggage({ ...this.parts, pins: this.#pins.inForce() });
  }

  /** A pinned version may have been rolled back, or the run around this one aborted. */
  refresh(): void {
    const { outer } = this.parts;
    if (this.#abort.signal.aborted) return;
    if (outer?.signal.aborted) return this.#abortBy(outer.signal.reason);
    const version = this.#pins.revoked("abort");
    if (version !== undefined) this.#abortBy(new DOMException(`${version} was rolled back`, "AbortError"));
  }

  cancel(): void {
    this.report({ status: "cancelled" });
    this.#close();
  }

  /** The agent's code is done. What it did not report itself is reported as it ended. */
  end(report: RunReport): void {
    if (!this.#isOver) this.report(report);
    this.#close();
  }

  #abortBy(reason: unknown): void {
    this.#abort.abort(reason);
    for (const inner of this.#inner) inner.refresh();
  }

  #close(): void {
    const { host, outer } = this.parts;
    if (this.#isOver) return;
    this.#isOver = true;
    this.#outcome.close();
    host?.closeRun(this);
    if (!outer) return;
    outer.#inner.delete(this);
    // A run whose writes were blocked in a run inside of it says as little about health as one whose own were.
    outer.counts.blockedWrites += this.counts.blockedWrites;
  }
}
