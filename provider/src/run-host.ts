/**
 * What the agent toolkit needs from a provider. `FlagbackProvider` implements it; anything else that does and is registered
 * works with `withRun` as well.
 */

import type { Attributes } from "@flagback/core/evaluation";
import type { Feedback, Revoke } from "@flagback/schemas";
import type { EvaluationContext, JsonValue, ResolutionDetails } from "@openfeature/core";
import type { Announcement, Assignment } from "./outcomes/assignments.ts";
import type { FeedbackResult } from "./outcomes/feedback-sender.ts";

/** A run that is under way, as its provider sees it. */
export interface OpenRun {
  /** What the runtime holds has changed: a pinned version may be revoked now. */
  refresh(): void;
  /** The provider is closing: the run is reported as it stands. */
  cancel(): void;
}

/** A version that a run brought along and may have, as the alias serves it now. */
export interface KeptVersion {
  readonly payload: JsonValue;
  readonly role: string;
  readonly reason: string;
  readonly stage: string | undefined;
  /** Revision of the alias that it is served from. */
  readonly revision: number;
  /** Whether the alias keeps conversations on their version. Else only a run that is part of another one keeps its. */
  readonly isSticky: boolean;
}

export interface RunHost {
  writesAllowed(context?: Attributes): boolean;
  /** Payload of the version that a targeting key was just served, also when it was withdrawn since. */
  payloadOf(alias: string, version: string, targetingKey: string): JsonValue | undefined;
  /** What a run gets that brings the version along; undefined where nobody may be served it now, or no conversation finish on it. */
  keep(alias: string, version: string): KeptVersion | undefined;
  /** What runs on a version should do that was rolled back; undefined where it was not. */
  revocationOf(alias: string, version: string): Revoke | undefined;
  /**
   * A run was handed to a version: it is announced within 250 ms. It started `ageMs` ago, by default now; while it is open,
   * it is reported as overdue for each latency limit of its alias that it passes.
   */
  assign(assignment: Assignment, ageMs?: number): Announcement;
  /**
   * How a run on an assignment went, once for each run. Never throws. A run id that an earlier run on the alias had gets a
   * suffix, because the server counts one outcome for each id.
   */
  reportOutcome(assignment: Announcement | Assignment, outcome: Readonly<Record<string, unknown>>): void;
  /** Feedback about runs that ended before. Never throws. */
  sendFeedback(feedback: readonly Feedback[]): Promise<FeedbackResult>;
  /** Something that the caller did costs it something. Said once for each key, `topic.problem`. */
  warn(key: string, message: string): void;
  openRun(run: OpenRun): void;
  closeRun(run: OpenRun): void;
}

/** A provider that a run can be bound to without an OpenFeature client. */
export interface RunProvider extends RunHost {
  resolveStringEvaluation(
    flagKey: string,
    defaultValue: string,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<string>>;
}

const hosts = new WeakMap<object, RunHost>();

/** Makes a provider known by its metadata object: that is what an OpenFeature client shows of its provider. */
export function registerHost(metadata: object, host: RunHost): void {
  hosts.set(metadata, host);
}

/** The flagback provider behind a client's `metadata.providerMetadata`, also inside a MultiProvider, which nests it by name. */
export function hostOf(providerMetadata: object): RunHost | undefined {
  const direct = hosts.get(providerMetadata);
  if (direct) return direct;
  for (const nested of Object.values(providerMetadata)) {
    const host = typeof nested === "object" && nested !== null ? hosts.get(nested) : undefined;
    if (host) return host;
  }
  return undefined;
}
