/**
 * What evaluations read, and how they read it: the held snapshot and the lease in, OpenFeature's resolutions out. It knows
 * no server and starts nothing.
 */
import { type Attributes, type Documents, keepVersion, pickVersion } from "@flagback/core/evaluation";
import type { Delta, Revoke, RuntimeDocument, Snapshot } from "@flagback/schemas";
import {
  ErrorCode,
  type EvaluationContext,
  type FlagMetadata,
  type FlagValue,
  type FlagValueType,
  type JsonValue,
} from "@openfeature/core";
import type { ProblemLog } from "./logger.ts";
import { MisuseLog } from "./misuse-log.ts";
import type { Served } from "./outcomes/attribution.ts";
import type { KeptVersion } from "./run-host.ts";
import type { AliasAnswer, AliasEntry } from "./snapshot/alias-entry.ts";
import type { FlagEntry } from "./snapshot/flag-entry.ts";
import { RepeatedAnswers } from "./snapshot/repeated-answers.ts";
import { failed, mismatched, type Resolution } from "./snapshot/results.ts";
import { type Entry, HeldSnapshot } from "./snapshot/snapshot.ts";
import { isSwitchEngaged, type SwitchEntry } from "./snapshot/switch-entry.ts";
import { describeThrown } from "./thrown.ts";

export interface EvaluatorOptions {
  /** The kill switch that `writesAllowed` asks. */
  readonly writeSwitch: string;
  /** Whether static flags say CACHED from their second answer on. */
  readonly cachedReason?: boolean;
  /** Asked at each evaluation: whether the lease is live, or lapsed less than `graceMs` ago. */
  readonly isLeaseLive: (graceMs?: number) => boolean;
  readonly log: ProblemLog;
  /** An OpenFeature evaluation of an alias answered. The synchronous `version` is not reported. */
  readonly onServed: (targetingKey: string | undefined, served: Served) => void;
}

export class Evaluator {
  readonly #writeSwitch: string;
  readonly #isLeaseLive: (graceMs?: number) => boolean;
  readonly #log: ProblemLog;
  readonly #onServed: (targetingKey: string | undefined, served: Served) => void;
  readonly #repeats: RepeatedAnswers | null;
  readonly #misuse: MisuseLog;
  readonly #held = new HeldSnapshot();
  /** The write switch of what is held, at hand because every write asks it. */
  #writes: SwitchEntry | null = null;

  constructor({ writeSwitch, cachedReason = false, isLeaseLive, log, onServed }: EvaluatorOptions) {
    this.#writeSwitch = writeSwitch;
    this.#repeats = cachedReason ? new RepeatedAnswers() : null;
    this.#isLeaseLive = isLeaseLive;
    this.#log = log;
    this.#misuse = new MisuseLog(log);
    this.#onServed = onServed;
  }

  /** Swaps what evaluations read, in one step, and says which keys are different in it. */
  swap(change: Snapshot | Delta): readonly string[] {
    const changed = this.#held.swap(change);
    this.#findWriteSwitch();
    return changed;
  }

  /** Takes what another process held: without a lease, and with stable as every alias's only answer until `confirm`. */
  restore(revision: number, documents: readonly RuntimeDocument[]): void {
    this.#held.restore(revision, documents);
    this.#findWriteSwitch();
  }

  confirm(): void {
    this.#held.confirm();
  }

  get documents(): Documents {
    return this.#held.documents;
  }

  /** Revision of what evaluations read; null before the first snapshot. */
  get revision(): number | null {
    return this.#held.revision;
  }

  resolveBoolean(flagKey: string, defaultValue: boolean, context: EvaluationContext): Resolution<boolean> {
    try {
      const entry = this.#held.entry(flagKey);
      if (entry?.kind === "killSwitch") return this.#readSwitch(entry, context);
      return this.#resolveOther("boolean", entry, flagKey, defaultValue, context);
    } catch (error) {
      return this.#unexpected(flagKey, defaultValue, error);
    }
  }

  /** An alias as a string is the version's id. */
  resolveString(flagKey: string, defaultValue: string, context: EvaluationContext): Resolution<string> {
    try {
      const entry = this.#held.entry(flagKey);
      if (entry?.kind !== "alias") return this.#resolveOther("string", entry, flagKey, defaultValue, context);
      const answer = this.#serve(entry, context);
      return answer.asString ?? nothingToServe(flagKey, defaultValue, answer);
    } catch (error) {
      return this.#unexpected(flagKey, defaultValue, error);
    }
  }

  resolveNumber(flagKey: string, defaultValue: number, context: EvaluationContext): Resolution<number> {
    try {
      return this.#resolveOther("number", this.#held.entry(flagKey), flagKey, defaultValue, context);
    } catch (error) {
      return this.#unexpected(flagKey, defaultValue, error);
    }
  }

  /** An alias as an object is the version's payload. The value is shared and frozen. */
  resolveObject<T extends JsonValue>(flagKey: string, defaultValue: T, context: EvaluationContext): Resolution<T> {
    try {
      const entry = this.#held.entry(flagKey);
      if (entry?.kind !== "alias") return this.#resolveOther("object", entry, flagKey, defaultValue, context);
      const answer = this.#serve(entry, context);
      // OpenFeature has no way to check T; the payload is what the caller says it is.
      if (answer.asObject !== null) return answer.asObject as Resolution<T>;
      if (answer.served === null) return nothingToServe(flagKey, defaultValue, answer);
      return this.#mismatched(flagKey, "an alias whose payload is no object", defaultValue, answer.flagMetadata);
    } catch (error) {
      return this.#unexpected(flagKey, defaultValue, error);
    }
  }

  /**
   * Whether a write may happen now, read again at each call. Fails closed: false before the first snapshot, while the switch
   * is unknown, and once its fail-safe engages it. A scope whose attribute the context lacks matches.
   */
  writesAllowed(context: Attributes = {}): boolean {
    try {
      const entry = this.#writes;
      return entry !== null && !isSwitchEngaged(entry, context ?? {}) && !this.#hasFailedSafe(entry);
    } catch (error) {
      this.#report(this.#writeSwitch, error);
      return false;
    }
  }

  /** The version that a targeting key gets now; null where there is nothing to serve. */
  version(alias: string, targetingKey?: string): string | null {
    try {
      const entry = this.#alias(alias);
      if (entry === undefined) return null;
      const key = typeof targetingKey === "string" ? targetingKey : undefined;
      const answer = pickVersion(entry.plan, key, true);
      // Most answers are what a lapsed lease would give as well, and the clocks cost more than the hash.
      if (!answer.needsLease || this.#isLeaseLive()) return answer.decision.version;
      return pickVersion(entry.plan, key, false).decision.version;
    } catch (error) {
      this.#report(alias, error);
      return null;
    }
  }

  /** The payload of a version that is held now. */
  payloadOf(alias: string, version: string): JsonValue | undefined {
    const versions = this.#alias(alias)?.document.versions;
    return versions && Object.hasOwn(versions, version) ? (versions[version]?.payload as JsonValue) : undefined;
  }

  /** What a run gets that brings the version along; undefined where the alias does not serve it now. */
  keep(alias: string, version: string): KeptVersion | undefined {
    const document = this.#alias(alias)?.document;
    const decision = document && keepVersion(document, version, this.#isLeaseLive());
    if (!document || !decision) return undefined;
    const { role, reason, stage } = decision;
    const payload = document.versions[version]?.payload as JsonValue;
    return { payload, role, reason, stage, revision: document.revision, isSticky: document.stickiness !== undefined };
  }

  /** What runs on a version should do that was rolled back; undefined where it was not. */
  revocationOf(alias: string, version: string): Revoke | undefined {
    const revoked = this.#alias(alias)?.document.revoked;
    return revoked && Object.hasOwn(revoked, version) ? revoked[version] : undefined;
  }

  /** Latency limits that runs on the alias are watched for, ascending. */
  latencyLimitsMs(alias: string): readonly number[] {
    return this.#alias(alias)?.latencyLimitsMs ?? [];
  }

  #findWriteSwitch(): void {
    this.#writes = null;
    const writes = this.#held.entry(this.#writeSwitch);
    if (writes?.kind === "killSwitch") this.#writes = writes;
  }

  #alias(key: string): AliasEntry | undefined {
    const entry = this.#held.entry(key);
    return entry?.kind === "alias" ? entry : undefined;
  }

  #serve(entry: AliasEntry, context: EvaluationContext): AliasAnswer {
    const targetingKey = targetingKeyOf(context);
    const answer = pickVersion(entry.plan, targetingKey, this.#isLeaseLive());
    // Stable is an answer and no error.
    if (targetingKey === undefined && !this.#misuse.hasKeyOfNoText(context) && answer.decision.reason === "DEFAULT") {
      this.#misuse.splitWithoutKey(entry.document.key);
    }
    if (answer.served) this.#onServed(targetingKey, answer.served);
    return answer;
  }

  #readSwitch(entry: SwitchEntry, context: EvaluationContext): Resolution<boolean> {
    const answer = isSwitchEngaged(entry, context ?? {}) ? entry.engaged : entry.released;
    if (this.#isLeaseLive()) return answer.trusted;
    return this.#hasFailedSafe(entry) ? entry.engaged.stale : answer.stale;
  }

  #hasFailedSafe({ document: { failSafe } }: SwitchEntry): boolean {
    return failSafe.engage && !this.#isLeaseLive(failSafe.afterMs);
  }

  #resolveOther<T extends FlagValue>(
    type: FlagValueType,
    entry: Entry | undefined,
    key: string,
    defaultValue: T,
    context: EvaluationContext,
  ): Resolution<T> {
    switch (entry?.kind) {
      case undefined:
        if (this.#held.revision === null) {
          return failed(defaultValue, ErrorCode.PROVIDER_NOT_READY, "nothing was received from the server yet");
        }
        return failed(defaultValue, ErrorCode.FLAG_NOT_FOUND, `there is no alias, kill switch or flag ${key}`);
      case "alias":
        return this.#mismatched(key, "an alias", defaultValue, { revision: entry.document.revision });
      case "killSwitch":
        return this.#mismatched(key, "a kill switch", defaultValue, { revision: entry.document.revision });
      case "flag":
        return this.#resolveFlag(entry, type, defaultValue, context);
    }
  }

  #resolveFlag<T extends FlagValue>(
    entry: FlagEntry,
    type: FlagValueType,
    defaultValue: T,
    context: EvaluationContext,
  ): Resolution<T> {
    const leaseLive = this.#isLeaseLive();
    this.#misuse.hasKeyOfNoText(context);
    const answer = entry.resolve(type, defaultValue, context ?? {}, leaseLive, this.#misuse.failed);
    return this.#repeats && leaseLive ? this.#repeats.next(answer) : answer;
  }

  #mismatched<T>(key: string, is: string, defaultValue: T, flagMetadata: FlagMetadata): Resolution<T> {
    this.#misuse.failed(key, ErrorCode.TYPE_MISMATCH, `it is ${is} and was read as a ${typeof defaultValue}`);
    return mismatched(key, is, defaultValue, flagMetadata);
  }

  #unexpected<T>(key: string, defaultValue: T, error: unknown): Resolution<T> {
    return failed(defaultValue, ErrorCode.GENERAL, this.#report(key, error));
  }

  #report(key: string, error: unknown): string {
    const message = `${key} could not be evaluated: ${describeThrown(error)}`;
    this.#log.error(`internal.${key}`, message);
    return message;
  }
}

/** The context's targeting key, where it is one: an empty text is none. */
export function targetingKeyOf(context: EvaluationContext | undefined): string | undefined {
  const key: unknown = context?.targetingKey;
  return typeof key === "string" && key !== "" ? key : undefined;
}

function nothingToServe<T>(key: string, defaultValue: T, answer: AliasAnswer): Resolution<T> {
  return failed(defaultValue, ErrorCode.GENERAL, `${key} has no version that may be served`, answer.flagMetadata);
}
