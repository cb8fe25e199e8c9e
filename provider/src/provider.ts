/**
 * The OpenFeature provider: answers from memory, kept in step with the server by one stream.
 */
import { randomBytes } from "node:crypto";
import { type Attributes, pickVersion } from "@flagback/core/evaluation";
import type { Revoke } from "@flagback/schemas";
import {
  ErrorCode,
  type EvaluationContext,
  type FlagValue,
  type FlagValueType,
  type JsonValue,
  type TrackingEventDetails,
} from "@openfeature/core";
import { OpenFeatureEventEmitter, type Provider } from "@openfeature/server-sdk";
import { StatusAnnouncer } from "./announcer.ts";
import { Connection } from "./connection/connection.ts";
import type { Status } from "./connection/state.ts";
import { closed, refused, unreachable } from "./init-errors.ts";
import { type ProblemLog, problemLog } from "./logger.ts";
import { type FlagbackProviderOptions, type Settings, settingsOf } from "./options.ts";
import type { Announcement, Assignment } from "./outcomes/assignments.ts";
import { Outbox, type OutboxStatistics } from "./outcomes/outbox.ts";
import { OutcomeReporter } from "./outcomes/reporter.ts";
import { type OpenRun, type RunHost, registerHost } from "./run-host.ts";
import type { AliasAnswer, AliasEntry } from "./snapshot/alias-entry.ts";
import { failed, mismatched, type Resolution } from "./snapshot/results.ts";
import { type HeldSnapshot, nextSnapshot } from "./snapshot/snapshot.ts";
import { isSwitchEngaged, type SwitchEntry } from "./snapshot/switch-entry.ts";
import { describeThrown } from "./thrown.ts";
import { SDK_NAME } from "./version.ts";

/** The event that `client.track` reports a run with. */
export const OUTCOME_EVENT = "agent.run.outcome";

export class FlagbackProvider implements Provider, RunHost {
  readonly metadata = { name: "flagback" } as const;
  readonly runsOn = "server";
  readonly events = new OpenFeatureEventEmitter();
  /** 128 random bits in hex: this object, to the server. Never persisted. */
  readonly instance = randomBytes(16).toString("hex");

  readonly #settings: Settings;
  readonly #log: ProblemLog;
  readonly #outbox: Outbox;
  readonly #connection: Connection;
  readonly #announcer = new StatusAnnouncer(this.events);
  readonly #reporter: OutcomeReporter;
  readonly #openRuns = new Set<OpenRun>();
  #held: HeldSnapshot | null = null;
  #changed: readonly string[] | null = null;
  /** Whether `initialize` was called after the last `onClose`. */
  #isWanted = false;
  #initialization: Promise<void> | null = null;
  #initializing: { resolve(): void; reject(error: Error): void } | null = null;
  #drained: (() => void) | null = null;
  #closing: Promise<void> | null = null;

  /** @throws FlagbackError `usage` where the options can't be used */
  constructor(options: FlagbackProviderOptions) {
    this.#settings = settingsOf(options);
    const { streamUrl, token, errorGraceMs, clock, random, maxOutcomes, maxOutcomeBytes } = this.#settings;
    this.#log = problemLog(this.#settings.logger);
    this.#outbox = new Outbox({ maxOutcomes, maxOutcomeBytes });
    this.#connection = new Connection({
      streamUrl,
      token,
      settings: { instance: this.instance, sdk: SDK_NAME, errorGraceMs },
      clock,
      random,
      log: this.#log,
      outbox: this.#outbox,
      host: {
        swap: (change) => {
          const isFirst = this.#held === null;
          const { snapshot, changed } = nextSnapshot(this.#held, change);
          this.#held = snapshot;
          this.#changed = isFirst ? null : changed;
        },
        swapped: () => this.#swapped(),
        status: (status, detail) => this.#statusChanged(status, detail),
        refused: (httpStatus) => this.#initializing?.reject(refused(httpStatus)),
        acknowledged: () => {
          if (this.#outbox.isEmpty) this.#drained?.();
        },
      },
    });
    this.#reporter = new OutcomeReporter(this.#outbox, this.#log, clock, () => this.#connection.pump());
    registerHost(this.metadata, this);
  }

  /**
   * Connects. Resolves with the first snapshot and the first lease; rejects after `initTimeoutMs` or when the token is
   * refused, and goes on connecting all the same: READY follows by event. While the provider closes, as when OpenFeature
   * gives it back to a domain, it waits for the closing and starts again.
   */
  initialize(): Promise<void> {
    this.#isWanted = true;
    if (this.#initialization !== null) return this.#initialization;
    const initialization = this.#initialize().finally(() => {
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
    try {
      const entry = this.#held?.entries.get(flagKey);
      if (entry?.kind === "killSwitch") return this.#readSwitch(entry, context);
      return this.#resolveOther("boolean", flagKey, defaultValue, context);
    } catch (error) {
      return this.#unexpected(flagKey, defaultValue, error);
    }
  }

  /** An alias as a string is the version's id. */
  resolveStringEvaluation(flagKey: string, defaultValue: string, context: EvaluationContext): Resolution<string> {
    try {
      const entry = this.#held?.entries.get(flagKey);
      if (entry?.kind !== "alias") return this.#resolveOther("string", flagKey, defaultValue, context);
      const answer = this.#serve(entry, context);
      return answer.asString ?? this.#nothingToServe(flagKey, defaultValue, answer);
    } catch (error) {
      return this.#unexpected(flagKey, defaultValue, error);
    }
  }

  resolveNumberEvaluation(flagKey: string, defaultValue: number, context: EvaluationContext): Resolution<number> {
    try {
      return this.#resolveOther("number", flagKey, defaultValue, context);
    } catch (error) {
      return this.#unexpected(flagKey, defaultValue, error);
    }
  }

  /** An alias as an object is the version's payload. The value is shared and frozen. */
  resolveObjectEvaluation<T extends JsonValue>(
    flagKey: string,
    defaultValue: T,
    context: EvaluationContext,
  ): Resolution<T> {
    try {
      const entry = this.#held?.entries.get(flagKey);
      if (entry?.kind !== "alias") return this.#resolveOther("object", flagKey, defaultValue, context);
      const answer = this.#serve(entry, context);
      // OpenFeature has no way to check T; the payload is what the caller says it is.
      if (answer.asObject !== null) return answer.asObject as Resolution<T>;
      if (answer.served === null) return this.#nothingToServe(flagKey, defaultValue, answer);
      return mismatched(flagKey, "an alias whose payload is no object", defaultValue, answer.flagMetadata);
    } catch (error) {
      return this.#unexpected(flagKey, defaultValue, error);
    }
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
  writesAllowed(context: Attributes = {}): boolean {
    const entry = this.#held?.entries.get(this.#settings.writeSwitch);
    if (entry?.kind !== "killSwitch") return false;
    return !this.#hasFailedSafe(entry) && !isSwitchEngaged(entry, context ?? {});
  }

  /** The version that a targeting key gets now, without OpenFeature around it; null where there is nothing to serve. */
  version(alias: string, targetingKey?: string): string | null {
    const entry = this.#held?.entries.get(alias);
    if (entry?.kind !== "alias") return null;
    return pickVersion(entry.plan, targetingKey, this.#connection.isLeaseLive()).decision.version;
  }

  /** Revision of what evaluations read; null before the first snapshot. */
  get revision(): number | null {
    return this.#held?.revision ?? null;
  }

  get outcomeStatistics(): OutboxStatistics {
    return this.#outbox.statistics;
  }

  payloadOf(alias: string, version: string, targetingKey: string): JsonValue | undefined {
    const served = this.#reporter.attribution.lastServed(targetingKey, alias);
    if (served?.version === version) return served.payload;
    const versions = this.#alias(alias)?.document.versions;
    return versions && Object.hasOwn(versions, version) ? (versions[version]?.payload as JsonValue) : undefined;
  }

  revocationOf(alias: string, version: string): Revoke | undefined {
    const revoked = this.#alias(alias)?.document.revoked;
    return revoked && Object.hasOwn(revoked, version) ? revoked[version] : undefined;
  }

  assign(assignment: Assignment, ageMs = 0): Announcement {
    return this.#reporter.assign(assignment, ageMs, this.#alias(assignment.alias)?.latencyLimitsMs ?? []);
  }

  reportOutcome(assignment: Announcement | Assignment, outcome: Readonly<Record<string, unknown>>): void {
    this.#reporter.report(assignment, outcome);
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

  #alias(key: string): AliasEntry | undefined {
    const entry = this.#held?.entries.get(key);
    return entry?.kind === "alias" ? entry : undefined;
  }

  #serve(entry: AliasEntry, context: EvaluationContext): AliasAnswer {
    const targetingKey = targetingKeyOf(context);
    if (targetingKey === undefined && context?.targetingKey !== undefined) {
      this.#log.warn(
        "context.targetingKey",
        `a targeting key that is no text (${typeof context.targetingKey}) counts as none: such runs get stable`,
      );
    }
    const answer = pickVersion(entry.plan, targetingKey, this.#connection.isLeaseLive());
    if (answer.served) this.#reporter.attribution.remember(targetingKey, answer.served);
    return answer;
  }

  #readSwitch(entry: SwitchEntry, context: EvaluationContext): Resolution<boolean> {
    if (this.#hasFailedSafe(entry)) return entry.engaged.stale;
    const answer = isSwitchEngaged(entry, context ?? {}) ? entry.engaged : entry.released;
    return this.#connection.isLeaseLive() ? answer.trusted : answer.stale;
  }

  #hasFailedSafe({ document: { failSafe } }: SwitchEntry): boolean {
    return failSafe.engage && !this.#connection.isLeaseLive(failSafe.afterMs);
  }

  #resolveOther<T extends FlagValue>(
    type: FlagValueType,
    key: string,
    defaultValue: T,
    context: EvaluationContext,
  ): Resolution<T> {
    if (!this.#held) {
      return failed(defaultValue, ErrorCode.PROVIDER_NOT_READY, "nothing was received from the server yet");
    }
    const entry = this.#held.entries.get(key);
    switch (entry?.kind) {
      case undefined:
        return failed(defaultValue, ErrorCode.FLAG_NOT_FOUND, `there is no alias, kill switch or flag ${key}`);
      case "alias":
        return mismatched(key, "an alias", defaultValue, { revision: entry.document.revision });
      case "killSwitch":
        return mismatched(key, "a kill switch", defaultValue, { revision: entry.document.revision });
      case "flag":
        return entry.resolve(type, defaultValue, context ?? {});
    }
  }

  #nothingToServe<T>(key: string, defaultValue: T, answer: AliasAnswer): Resolution<T> {
    return failed(defaultValue, ErrorCode.GENERAL, `${key} has no version that may be served`, answer.flagMetadata);
  }

  #unexpected<T>(key: string, defaultValue: T, error: unknown): Resolution<T> {
    this.#log.error(`internal.${key}`, `${key} could not be evaluated: ${describeThrown(error)}`);
    return failed(defaultValue, ErrorCode.GENERAL, `${key} could not be evaluated: ${describeThrown(error)}`);
  }

  #statusChanged(status: Status, detail: string): void {
    this.#announcer.announce(status, detail);
    if (status === "ready") this.#initializing?.resolve();
  }

  #swapped(): void {
    for (const run of this.#openRuns) run.refresh();
    if (this.#changed && this.#held) this.#announcer.changed(this.#changed, this.#held.revision);
    this.#changed = null;
  }

  async #initialize(): Promise<void> {
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
      const timer = setTimeout(() => this.#initializing?.reject(unreachable(initTimeoutMs)), initTimeoutMs);
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
      this.#connection.start();
    });
  }

  async #close(): Promise<void> {
    for (const run of [...this.#openRuns]) run.cancel();
    this.#connection.flush();
    if (!this.#outbox.isEmpty && this.#held) await this.#drain();
    this.#connection.stop();
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

function targetingKeyOf(context: EvaluationContext | undefined): string | undefined {
  const key: unknown = context?.targetingKey;
  return typeof key === "string" && key !== "" ? key : undefined;
}
