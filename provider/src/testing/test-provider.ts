/**
 * The provider for unit tests: it answers as `FlagbackProvider` does, from what a test says instead of what a server sends.
 */
import { type Attributes, applyDelta, type Documents, documentsOf } from "@flagback/core/evaluation";
import {
  DEFAULT_KILL_SWITCH,
  type Feedback,
  FlagbackError,
  type Outcome,
  type Revoke,
  type RuntimeDocument,
} from "@flagback/schemas";
import type { EvaluationContext, JsonValue, TrackingEventDetails } from "@openfeature/core";
import { OpenFeatureEventEmitter, type Provider, ProviderEvents } from "@openfeature/server-sdk";
import { systemClock } from "../clock.ts";
import { Evaluator, targetingKeyOf } from "../evaluator.ts";
import type { AliasKey, KillSwitchKey } from "../keys.ts";
import { DEFAULT_MAX_OUTCOME_BYTES, DEFAULT_MAX_OUTCOMES, DEFAULT_WRITE_SWITCH } from "../limits.ts";
import { consoleLogger, type ProblemLog, type ProviderLogger, problemLog } from "../logger.ts";
import type { Announcement, Assignment } from "../outcomes/assignments.ts";
import type { FeedbackResult } from "../outcomes/feedback-sender.ts";
import { Outbox, type OutboxStatistics } from "../outcomes/outbox.ts";
import { OUTCOME_EVENT } from "../outcomes/outcome.ts";
import { OutcomeReporter } from "../outcomes/reporter.ts";
import { type KeptVersion, type OpenRun, type RunProvider, registerHost } from "../run-host.ts";
import type { Resolution } from "../snapshot/results.ts";
import { engaged, type OnBreach, released, rolledBack } from "./operations.ts";
import { SentOutcomes } from "./sent-outcomes.ts";
import { documentsOfTest, type TestFlags } from "./test-flags.ts";

export interface TestProviderOptions {
  /** The kill switch that `writesAllowed` and `guardTools` ask. Default `writes_disabled`. */
  readonly writeSwitch?: KillSwitchKey;
  /** Takes each distinct problem once. Default: the console. */
  readonly logger?: ProviderLogger;
}

/** A database, as a snapshot names it: there is only this one. */
const EPOCH = "0".repeat(32);
const MARK = "0".repeat(16);

/**
 * Flags in memory. Works with OpenFeature and with `withRun`, opens no socket, starts no timer, and shares nothing with
 * other instances, so that tests may run side by side, each with its own provider (and domain).
 */
export class TestProvider implements Provider, RunProvider {
  readonly metadata = { name: "flagback test" } as const;
  readonly runsOn = "server";
  readonly events = new OpenFeatureEventEmitter();

  readonly #log: ProblemLog;
  readonly #outbox = new Outbox({ maxOutcomes: DEFAULT_MAX_OUTCOMES, maxOutcomeBytes: DEFAULT_MAX_OUTCOME_BYTES });
  readonly #sent = new SentOutcomes(this.#outbox);
  readonly #reporter: OutcomeReporter;
  readonly #evaluator: Evaluator;
  readonly #openRuns = new Set<OpenRun>();
  /** By alias and id. */
  readonly #feedback = new Map<string, Feedback>();
  /** Null before anything was set. */
  #documents: Documents | null = null;
  #isConnected = true;
  #isReadyOwed = false;

  /**
   * Without `flags` nothing is there yet, as with a server that can't be reached: reads answer with defaults, writes are
   * denied and `initialize` rejects, until `set`.
   * @throws FlagbackError `usage` that names everything in `flags` that can't be used
   */
  constructor(
    flags?: TestFlags,
    { writeSwitch = DEFAULT_WRITE_SWITCH, logger = consoleLogger }: TestProviderOptions = {},
  ) {
    this.#log = problemLog(logger);
    this.#reporter = new OutcomeReporter(this.#outbox, this.#log, systemClock, () =>
      this.#sent.take(systemClock.monotonicMs()),
    );
    this.#evaluator = new Evaluator({
      writeSwitch,
      isLeaseLive: () => this.#isConnected,
      log: this.#log,
      onServed: (targetingKey, served) => this.#reporter.attribution.remember(targetingKey, served),
    });
    registerHost(this.metadata, this);
    if (flags) this.set(flags);
  }

  /**
   * Adds and replaces; what it doesn't name stays. One revision, as a server would send it. An alias that is set again begins
   * anew: what was rolled back on it may be served.
   * @throws FlagbackError `usage` that names everything in `flags` that can't be used; nothing is changed then
   */
  set(flags: TestFlags): void {
    this.#change((held, revision) => documentsOfTest(flags, held, revision));
  }

  /**
   * Engages a kill switch, everywhere or for a scope such as `agent=support-agent`, until it is released for the same scope.
   * @throws FlagbackError `kill_switch_not_found`, or `usage` for what is no scope
   */
  engage(key: KillSwitchKey, scope = "*", reason = "engaged by the test"): void {
    this.#change((held, revision) => engaged(held, { key, scope, reason }, revision));
  }

  /** Releases what is engaged for exactly this scope. @throws FlagbackError `kill_switch_not_found` */
  release(key: KillSwitchKey, scope = "*"): void {
    this.#change((held, revision) => released(held, key, scope, revision));
  }

  /**
   * Rolls the candidate back as the brain does, in one revision: its traffic goes to stable, its runs in flight are revoked,
   * and the kill switches engage. `onBreach` is that of a policy: by default `writes_disabled` engages for `agent=<alias>`,
   * and runs in flight go on without writes.
   * @throws FlagbackError `alias_not_found`, or `rollout_not_active` where the alias has no candidate
   */
  rollBack(alias: AliasKey, onBreach: Partial<OnBreach> = {}): void {
    const breach: OnBreach = { engage: [DEFAULT_KILL_SWITCH], scope: "alias", revoke: "block_writes", ...onBreach };
    this.#change((held, revision) => rolledBack(held, alias, breach, revision));
  }

  /** As an outage that is longer than the lease: STALE, aliases answer their stable version and fail-safes engage. */
  disconnect(): void {
    if (!this.#isConnected) return;
    this.#isConnected = false;
    this.events.emit(ProviderEvents.Stale, { message: "the test disconnected it" });
  }

  /** The outage is over. */
  reconnect(): void {
    if (this.#isConnected) return;
    this.#isConnected = true;
    this.events.emit(ProviderEvents.Ready, { message: "the test reconnected it" });
  }

  /** Every outcome that a server would have got so far, oldest first. */
  outcomes(): Outcome[] {
    return this.#sent.all;
  }

  /** Everything that `reportLater` said so far, oldest first: once for each id and alias. */
  feedback(): Feedback[] {
    return structuredClone([...this.#feedback.values()]);
  }

  /** Resolves at once. @throws FlagbackError `usage` where nothing was set yet; READY follows with `set` */
  async initialize(): Promise<void> {
    if (this.#documents !== null) return;
    this.#isReadyOwed = true;
    throw new FlagbackError({
      code: "usage",
      message: "TestProvider has nothing to answer with.",
      hint: "Give its constructor what there is, or call set before it is used.",
    });
  }

  /** Reports open runs as cancelled. Evaluations keep answering, and nothing is left to wait for. */
  async onClose(): Promise<void> {
    for (const run of [...this.#openRuns]) run.cancel();
  }

  resolveBooleanEvaluation(flagKey: string, defaultValue: boolean, context: EvaluationContext): Resolution<boolean> {
    return this.#evaluator.resolveBoolean(flagKey, defaultValue, context);
  }

  resolveStringEvaluation(flagKey: string, defaultValue: string, context: EvaluationContext): Resolution<string> {
    return this.#evaluator.resolveString(flagKey, defaultValue, context);
  }

  resolveNumberEvaluation(flagKey: string, defaultValue: number, context: EvaluationContext): Resolution<number> {
    return this.#evaluator.resolveNumber(flagKey, defaultValue, context);
  }

  resolveObjectEvaluation<T extends JsonValue>(
    flagKey: string,
    defaultValue: T,
    context: EvaluationContext,
  ): Resolution<T> {
    return this.#evaluator.resolveObject(flagKey, defaultValue, context);
  }

  track(trackingEventName: string, context: EvaluationContext, trackingEventDetails: TrackingEventDetails): void {
    if (trackingEventName === OUTCOME_EVENT) this.#reporter.track(targetingKeyOf(context), trackingEventDetails);
  }

  writesAllowed(context?: Attributes): boolean {
    return this.#evaluator.writesAllowed(context);
  }

  version(alias: AliasKey, targetingKey?: string): string | null {
    return this.#evaluator.version(alias, targetingKey);
  }

  get revision(): number | null {
    return this.#evaluator.revision;
  }

  get outcomeStatistics(): OutboxStatistics {
    return this.#outbox.statistics;
  }

  payloadOf(alias: string, version: string, targetingKey: string): JsonValue | undefined {
    const served = this.#reporter.attribution.lastServed(targetingKey, alias);
    return served?.version === version ? served.payload : this.#evaluator.payloadOf(alias, version);
  }

  keep(alias: string, version: string): KeptVersion | undefined {
    return this.#evaluator.keep(alias, version);
  }

  revocationOf(alias: string, version: string): Revoke | undefined {
    return this.#evaluator.revocationOf(alias, version);
  }

  assign(assignment: Assignment, ageMs = 0): Announcement {
    return this.#reporter.assign(assignment, ageMs, this.#evaluator.latencyLimitsMs(assignment.alias));
  }

  reportOutcome(assignment: Announcement | Assignment, outcome: Readonly<Record<string, unknown>>): void {
    this.#reporter.report(assignment, outcome);
  }

  async sendFeedback(feedback: readonly Feedback[]): Promise<FeedbackResult> {
    if (!this.#isConnected) return "unreachable";
    for (const each of feedback) {
      const key = `${each.alias} ${each.id}`;
      if (!this.#feedback.has(key)) this.#feedback.set(key, each);
    }
    return "accepted";
  }

  warn(key: string, message: string): void {
    this.#log.warn(key, message);
  }

  openRun(run: OpenRun): void {
    this.#openRuns.add(run);
  }

  closeRun(run: OpenRun): void {
    this.#openRuns.delete(run);
  }

  /** One change, swapped as a whole. Nothing is different where there is none. */
  #change(change: (held: Documents, revision: number) => readonly RuntimeDocument[]): void {
    const from = this.revision ?? 0;
    const revision = from + 1;
    const put = change(this.#documents ?? documentsOf([]), revision);
    const isFirst = this.#documents === null;
    if (put.length === 0 && !isFirst) return;
    this.#documents = applyDelta(this.#documents ?? documentsOf([]), { put: [...put], delete: [] });
    const flagsChanged = this.#evaluator.swap(
      isFirst
        ? { type: "snapshot", epoch: EPOCH, revision, mark: MARK, documents: [...put] }
        : { type: "delta", from, revision, mark: MARK, put: [...put], delete: [] },
    );
    for (const run of this.#openRuns) run.refresh();
    if (!isFirst)
      this.events.emit(ProviderEvents.ConfigurationChanged, {
        flagsChanged: [...flagsChanged],
        metadata: { revision },
      });
    else if (this.#isReadyOwed) this.events.emit(ProviderEvents.Ready);
  }
}
