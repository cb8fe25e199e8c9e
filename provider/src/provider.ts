/**
 * The OpenFeature provider: answers from memory, kept in step with the server by one stream.
 */
import { randomBytes } from "node:crypto";
import type { Attributes } from "@flagback/core/evaluation";
import type { Feedback, FlagbackError, Revoke } from "@flagback/schemas";
import type { EvaluationContext, JsonValue, TrackingEventDetails } from "@openfeature/core";
import { OpenFeatureEventEmitter, type Provider } from "@openfeature/server-sdk";
import { StatusAnnouncer } from "./announcer.ts";
import { type RestoredDocuments, SnapshotCache } from "./cache/snapshot-cache.ts";
import { takesBack } from "./cache/takes-back.ts";
import { Connection } from "./connection/connection.ts";
import type { Status } from "./connection/state.ts";
import { Evaluator, targetingKeyOf } from "./evaluator.ts";
import { closed, refused, unreachable, unusableOptions } from "./init-errors.ts";
import type { AliasKey } from "./keys.ts";
import { CACHE_READ_TIMEOUT_MS } from "./limits.ts";
import { type ProblemLog, problemLog } from "./logger.ts";
import { type FlagbackProviderOptions, type Settings, settingsOf } from "./options.ts";
import type { Announcement, Assignment } from "./outcomes/assignments.ts";
import { type FeedbackResult, sendFeedback } from "./outcomes/feedback-sender.ts";
import { Outbox, type OutboxStatistics } from "./outcomes/outbox.ts";
import { OUTCOME_EVENT } from "./outcomes/outcome.ts";
import { OutcomeReporter } from "./outcomes/reporter.ts";
import { type KeptVersion, type OpenRun, type RunHost, registerHost } from "./run-host.ts";
import type { Resolution } from "./snapshot/results.ts";
import { SDK_NAME } from "./version.ts";

export class FlagbackProvider implements Provider, RunHost {
  readonly metadata = { name: "flagback" } as const;
  readonly runsOn = "server";
  readonly events = new OpenFeatureEventEmitter();
  /** 128 random bits in hex: this object, to the server. Never persisted. */
  readonly instance = randomBytes(16).toString("hex");

  readonly #settings: Settings;
  /** What is wrong with the options. */
  readonly #unusable: FlagbackError | null;
  readonly #log: ProblemLog;
  readonly #outbox: Outbox;
  readonly #connection: Connection;
  readonly #announcer: StatusAnnouncer;
  readonly #reporter: OutcomeReporter;
  readonly #evaluator: Evaluator;
  readonly #cache: SnapshotCache | null;
  /** What the cache gave us, until we have been in step with the server. */
  #cached: RestoredDocuments | null = null;
  readonly #openRuns = new Set<OpenRun>();
  #changed: readonly string[] | null = null;
  /** Whether `initialize` was called after the last `onClose`. */
  #isWanted = false;
  #initialization: Promise<void> | null = null;
  #initializing: { resolve(): void; reject(error: Error): void } | null = null;
  #drained: (() => void) | null = null;
  #closing: Promise<void> | null = null;

  /**
   * Never throws: where the options can't be used they are logged, `initialize` rejects as fatal, and all that is asked
   * answers as with nothing held (defaults; no write is allowed).
   */
  constructor(options: FlagbackProviderOptions) {
    const { settings, unusable } = settingsOf(options);
    this.#settings = settings;
    this.#unusable = unusable;
    const { streamUrl, snapshotUrl, token, errorGraceMs, clock, random, maxOutcomes, maxOutcomeBytes, writeSwitch } =
      this.#settings;
    const { cachedReason, cacheFile } = this.#settings;
    this.#log = problemLog(this.#settings.logger);
    if (unusable) this.#log.error("options.unusable", `${unusable.message} ${unusable.hint}`);
    this.#cache =
      cacheFile === null
        ? null
        : new SnapshotCache({ path: cacheFile, server: snapshotUrl, token, sdk: SDK_NAME, clock, log: this.#log });
    this.#announcer = new StatusAnnouncer(this.events, this.#settings.emitsLifecycleEvents);
    this.#outbox = new Outbox({ maxOutcomes, maxOutcomeBytes });
    this.#connection = new Connection({
      streamUrl,
      snapshotUrl,
      token,
      settings: {
        instance: this.instance,
        sdk: SDK_NAME,
        pollNonce: randomBytes(8).toString("hex"),
        errorGraceMs,
      },
      clock,
      random,
      log: this.#log,
      outbox: this.#outbox,
      host: {
        swap: (change) => {
          const isFirst = this.revision === null;
          // What a file holds that we did not start from is unknown.
          const isOutdating = this.#cache !== null && (isFirst || takesBack(this.#evaluator.documents, change));
          const changed = this.#evaluator.swap(change);
          if (isOutdating) this.#cache?.discard();
          this.#changed = isFirst ? null : changed;
        },
        swapped: () => this.#swapped(),
        status: (status, detail) => this.#statusChanged(status, detail),
        refused: (httpStatus) => this.#initializing?.reject(refused(httpStatus, this.revision !== null)),
        acknowledged: () => {
          if (this.#outbox.isEmpty) this.#drained?.();
        },
      },
    });
    this.#reporter = new OutcomeReporter(this.#outbox, this.#log, clock, () => this.#connection.pump());
    this.#evaluator = new Evaluator({
      writeSwitch,
      cachedReason,
      isLeaseLive: (graceMs) => this.#connection.isLeaseLive(graceMs),
      log: this.#log,
      onServed: (targetingKey, served) => this.#reporter.attribution.remember(targetingKey, served),
    });
    registerHost(this.metadata, this);
  }

  /**
   * Connects. Resolves with the first snapshot and the first lease. Where the cache holds something it also resolves once the
   * first attempt failed or `initTimeoutMs` passed, and STALE follows at once; else it rejects then. It rejects when the token
   * is refused. It goes on connecting all the same: READY follows by event. While the provider closes, as when OpenFeature
   * gives it back to a domain, it waits for the closing and starts again. Where the options can't be used it rejects at once,
   * and nothing follows.
   */
  initialize(): Promise<void> {
    this.#isWanted = true;
    if (this.#initialization !== null) return this.#initialization;
    const initialization = this.#initialize()
      .then(
        () => this.#announcer.initialized(null),
        (error: Error) => {
          this.#announcer.initialized(error);
          throw error;
        },
      )
      .finally(() => {
        if (this.#initialization === initialization) this.#initialization = null;
      });
    this.#initialization = initialization;
    return initialization;
  }

  /**
   * Reports open runs as cancelled, sends what waits within `closeTimeoutMs`, says goodbye and stops. Evaluations keep
   * answering from what is held. Calling it again is harmless, and `initialize` starts again after it.
   */
  onClose(): Promise<void> {
    this.#isWanted = false;
    if (this.#initializing) {
      this.#initializing.reject(closed());
      this.#initialization = null;
    }
    this.#closing ??= this.#close();
    return this.#closing;
  }

  resolveBooleanEvaluation(flagKey: string, defaultValue: boolean, context: EvaluationContext): Resolution<boolean> {
    return this.#evaluator.resolveBoolean(flagKey, defaultValue, context);
  }

  /** An alias as a string is the version's id. */
  resolveStringEvaluation(flagKey: string, defaultValue: string, context: EvaluationContext): Resolution<string> {
    return this.#evaluator.resolveString(flagKey, defaultValue, context);
  }

  resolveNumberEvaluation(flagKey: string, defaultValue: number, context: EvaluationContext): Resolution<number> {
    return this.#evaluator.resolveNumber(flagKey, defaultValue, context);
  }

  /** An alias as an object is the version's payload. The value is shared and frozen. */
  resolveObjectEvaluation<T extends JsonValue>(
    flagKey: string,
    defaultValue: T,
    context: EvaluationContext,
  ): Resolution<T> {
    return this.#evaluator.resolveObject(flagKey, defaultValue, context);
  }

  /**
   * `agent.run.outcome` with an outcome's fields (`status` at least, `alias` where several were evaluated) counts for the
   * version that the context's targeting key got last. The run is announced together with its outcome: a plain evaluation
   * alone announces nothing. The SDK drops the call while NOT_READY.
   */
  track(trackingEventName: string, context: EvaluationContext, trackingEventDetails: TrackingEventDetails): void {
    if (trackingEventName === OUTCOME_EVENT) this.#reporter.track(targetingKeyOf(context), trackingEventDetails);
  }

  /**
   * Whether a write may happen now, read again at each call. Fails closed: false before the first snapshot, while the switch
   * is unknown, and once its fail-safe engages it. A scope whose attribute the context lacks matches, so pass `agent` at least.
   */
  writesAllowed(context?: Attributes): boolean {
    return this.#evaluator.writesAllowed(context);
  }

  /** The version that a targeting key gets now, without OpenFeature around it; null where there is nothing to serve. */
  version(alias: AliasKey, targetingKey?: string): string | null {
    return this.#evaluator.version(alias, targetingKey);
  }

  /** Revision of what evaluations read; null before the first snapshot. */
  get revision(): number | null {
    return this.#evaluator.revision;
  }

  get outcomeStatistics(): OutboxStatistics {
    return this.#outbox.statistics;
  }

  payloadOf(alias: string, version: string, targetingKey: string): JsonValue | undefined {
    const served = this.#reporter.attribution.lastServed(targetingKey, alias);
    if (served?.version === version) return served.payload;
    return this.#evaluator.payloadOf(alias, version);
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
    if (this.#unusable) return "refused";
    const { feedbackUrl: url, token, random } = this.#settings;
    return sendFeedback(feedback, { url, token, random, log: this.#log });
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

  #statusChanged(status: Status, detail: string): void {
    if (status === "ready") {
      this.#cached = null;
      this.#evaluator.confirm();
    }
    this.#announcer.announce(status, detail);
    // STALE before the first READY: the server can't be reached, and what is held must do.
    if (status === "ready" || status === "stale") this.#initializing?.resolve();
    if (status === "stale" && this.#cached) {
      const { cursor, writtenAt } = this.#cached;
      const from = `the cache file, written at ${writtenAt} with revision ${cursor.revision}`;
      this.#log.warn("cache.used", `the server can't be reached: answering from ${from}, until it can`);
    }
  }

  #swapped(): void {
    const { cursor } = this.#connection;
    if (cursor) this.#cache?.keep({ cursor, documents: this.#evaluator.documents });
    for (const run of this.#openRuns) run.refresh();
    if (this.#changed && this.revision !== null) this.#announcer.changed(this.#changed, this.revision);
    this.#changed = null;
  }

  async #initialize(): Promise<void> {
    if (this.#unusable) throw unusableOptions(this.#unusable);
    if (this.#closing !== null) {
      await this.#closing;
      if (!this.#isWanted) throw closed();
      this.#closing = null;
    }
    if (this.#connection.status !== "ready") await this.#connect();
  }

  #connect(): Promise<void> {
    const release = this.#announcer.hold();
    const { initTimeoutMs } = this.#settings;
    return new Promise<void>((resolve, reject) => {
      // Held by the event loop on purpose: whoever awaits us would otherwise leave before the server could answer.
      const timer = setTimeout(() => {
        this.#connection.overdue();
        this.#initializing?.reject(unreachable(initTimeoutMs));
      }, initTimeoutMs);
      const settle = (announcedByTheSdk: "ready" | "error") => {
        clearTimeout(timer);
        this.#initializing = null;
        // The SDK takes the promise's end as the status in a microtask; what happened since is said after it.
        setImmediate(() => release(announcedByTheSdk));
      };
      this.#initializing = {
        resolve: () => {
          settle("ready");
          resolve();
        },
        reject: (error) => {
          settle("error");
          reject(error);
        },
      };
      void this.#start();
    });
  }

  /** What another process left is read only where nothing is held. */
  async #start(): Promise<void> {
    const cached = this.revision === null ? await this.#cache?.read(CACHE_READ_TIMEOUT_MS) : null;
    // Meanwhile we may have been closed, and even started again.
    if (!this.#isWanted) return;
    if (!cached || this.revision !== null) return this.#connection.start();
    this.#cached = cached;
    this.#evaluator.restore(cached.cursor.revision, cached.documents);
    this.#connection.start(cached);
  }

  async #close(): Promise<void> {
    for (const run of [...this.#openRuns]) run.cancel();
    this.#connection.flush();
    if (!this.#outbox.isEmpty && this.revision !== null) await this.#drain();
    this.#connection.stop();
    await this.#cache?.flush(this.#settings.closeTimeoutMs);
  }

  /** Waits until everything is acknowledged, within the bound. */
  #drain(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#settings.closeTimeoutMs);
      this.#drained = () => {
        clearTimeout(timer);
        this.#drained = null;
        resolve();
      };
    });
  }
}
