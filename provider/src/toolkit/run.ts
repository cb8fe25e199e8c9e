/**
 * One execution of an agent: which versions it was handed, whether it may write, and how it went.
 */
import type { Attributes } from "@flagback/core/evaluation";
import { type OutcomeStatus, VersionId } from "@flagback/schemas";
import type { EvaluationContext, EvaluationDetails, JsonValue } from "@openfeature/core";
import type { Clock } from "../clock.ts";
import type { AliasKey } from "../keys.ts";
import type { Announcement, Assignment } from "../outcomes/assignments.ts";
import { fieldsOf, type OutcomeDetails } from "../outcomes/outcome.ts";
import type { OpenRun, RunHost } from "../run-host.ts";
import { describeThrown } from "../thrown.ts";

/** A version that a run was handed, once, at its first `pin` of the alias. */
export interface Pin {
  readonly alias: string;
  /** The version's id, or the caller's fallback. */
  readonly version: string;
  readonly payload: JsonValue | undefined;
  readonly role: string | undefined;
  readonly stage: string | undefined;
  /** Revision of the alias that it was served from; 0 for the fallback. */
  readonly revision: number;
  /** True when flagback could not answer and the caller's fallback is used. Such runs never count against a version. */
  readonly isDefault: boolean;
}

/** How the run went. `status` is all that is needed. */
export type RunReport = OutcomeDetails & { readonly status: OutcomeStatus };

/** What an agent's code sees of its run. */
export interface Run {
  readonly runId: string;
  readonly agent: string;
  readonly targetingKey: string;
  /** Aborts when a pinned version was rolled back and its policy says `revoke: abort`. */
  readonly signal: AbortSignal;
  /** The version of an alias for this run: asked once, then kept. Never throws; the fallback is used where nothing answers. */
  pin(alias: AliasKey, fallback: string): Promise<string>;
  /** As `pin`, with the payload and what else is known. */
  pinned(alias: AliasKey, fallback: string): Promise<Pin>;
  /** Whether a write may happen now. Read again at each call; fails closed. */
  writesAllowed(extra?: Attributes): boolean;
  /** Reports every version that this run pinned. Once; without it, the run's end reports success or failure. */
  report(report: RunReport): void;
}

export interface RunParts {
  readonly runId: string;
  readonly agent: string;
  readonly targetingKey: string;
  readonly conversationId: string | undefined;
  /** Everything that evaluations and write checks see. */
  readonly context: EvaluationContext;
  readonly host: RunHost | undefined;
  readonly clock: Clock;
  readonly resolve: (alias: string, fallback: string) => Promise<EvaluationDetails<string>>;
}

/** What tools add to a run's outcome. */
export interface ToolCounts {
  toolCalls: number;
  toolErrors: number;
  writes: number;
  blockedWrites: number;
}

interface PinnedVersion {
  readonly pin: Pin;
  /** Null for a fallback, which is announced with its outcome, and for a flag that is no alias. */
  readonly announcement: Announcement | null;
  isReported: boolean;
}

export class LiveRun implements Run, OpenRun {
  readonly #parts: RunParts;
  readonly #abort = new AbortController();
  readonly #pins = new Map<string, Promise<Pin>>();
  readonly #versions: PinnedVersion[] = [];
  readonly #startedMs: number;
  readonly #startedAt: string;
  readonly counts: ToolCounts = { toolCalls: 0, toolErrors: 0, writes: 0, blockedWrites: 0 };
  #report: Readonly<Record<string, unknown>> | null = null;
  #isOver = false;

  constructor(parts: RunParts) {
    this.#parts = parts;
    this.#startedMs = parts.clock.monotonicMs();
    this.#startedAt = new Date(parts.clock.wallMs()).toISOString();
    parts.host?.openRun(this);
  }

  get runId(): string {
    return this.#parts.runId;
  }

  get agent(): string {
    return this.#parts.agent;
  }

  get targetingKey(): string {
    return this.#parts.targetingKey;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  async pin(alias: string, fallback: string): Promise<string> {
    return (await this.pinned(alias, fallback)).version;
  }

  pinned(alias: string, fallback: string): Promise<Pin> {
    const known = this.#pins.get(alias);
    if (known !== undefined) return known;
    const pinning = this.#pin(alias, fallback);
    this.#pins.set(alias, pinning);
    return pinning;
  }

  writesAllowed(extra?: Attributes): boolean {
    const { host, context } = this.#parts;
    if (!host || this.#isOver) return false;
    return !this.#isWithdrawn() && host.writesAllowed(extra ? { ...context, ...extra } : context);
  }

  /** Something about how the run's code is written costs it something. Said once for each key, `topic.problem`. */
  warn(key: string, message: string): void {
    this.#parts.host?.warn(key, message);
  }

  report(report: RunReport): void {
    if (this.#report) return;
    this.#report = fieldsOf(report);
    this.#flush();
  }

  /** A pinned version may have been rolled back. */
  refresh(): void {
    if (this.#abort.signal.aborted) return;
    const aborted = this.#versions.find(({ pin }) => this.#revocation(pin) === "abort");
    if (aborted) {
      this.#abort.abort(new DOMException(`${aborted.pin.version} was rolled back`, "AbortError"));
    }
  }

  cancel(): void {
    this.report({ status: "cancelled" });
    this.#isOver = true;
    this.#parts.host?.closeRun(this);
  }

  /** The agent's code is done. What it did not report itself is reported as it ended. */
  end(report: RunReport): void {
    if (!this.#isOver) {
      this.#report ??= { ...report };
      this.#flush();
    }
    this.#isOver = true;
    this.#parts.host?.closeRun(this);
  }

  async #pin(alias: string, fallback: string): Promise<Pin> {
    const details = await this.#parts.resolve(alias, fallback);
    const isDefault = details.errorCode !== undefined || details.variant === undefined;
    const { role, stage, revision } = details.flagMetadata;
    const pin: Pin = Object.freeze({
      alias,
      version: details.value,
      payload: isDefault ? undefined : this.#parts.host?.payloadOf(alias, details.value, this.#parts.targetingKey),
      role: typeof role === "string" ? role : undefined,
      stage: typeof stage === "string" ? stage : undefined,
      revision: isDefault || typeof revision !== "number" ? 0 : revision,
      isDefault,
    });
    this.#versions.push({ pin, announcement: this.#announce(pin), isReported: false });
    // It may have been rolled back while the SDK's hooks ran, and a pin after the report is reported the same way.
    this.refresh();
    if (this.#report) this.#flush();
    return pin;
  }

  /** Only an alias has runs to account for; it is told by its role. */
  #announce({ alias, version, revision, isDefault, role }: Pin): Announcement | null {
    if (isDefault || role === undefined || this.#isOver) return null;
    const { host, clock } = this.#parts;
    return host?.assign({ alias, version, revision }, clock.monotonicMs() - this.#startedMs) ?? null;
  }

  #isWithdrawn(): boolean {
    return this.#versions.some(({ pin }) => {
      const revocation = this.#revocation(pin);
      return revocation === "block_writes" || revocation === "abort";
    });
  }

  #revocation({ alias, version, isDefault }: Pin) {
    return isDefault ? undefined : this.#parts.host?.revocationOf(alias, version);
  }

  /** Never throws: what an agent returns or throws must not be replaced by a report that failed. */
  #flush(): void {
    try {
      this.#reportVersions();
    } catch (error) {
      this.#parts.host?.warn("run.report", `a run could not be reported: ${describeThrown(error)}`);
    }
  }

  #reportVersions(): void {
    const { host, clock, runId, conversationId } = this.#parts;
    if (!host || !this.#report) return;
    const outcome = {
      ...this.#counted(),
      durationMs: clock.monotonicMs() - this.#startedMs,
      startedAt: this.#startedAt,
      endedAt: new Date(clock.wallMs()).toISOString(),
      ...this.#report,
      runId,
      conversationId,
    };
    for (const version of this.#versions) {
      if (version.isReported) continue;
      version.isReported = true;
      const { alias, isDefault, revision, version: id } = version.pin;
      if (version.announcement) host.reportOutcome(version.announcement, outcome);
      // A fallback that is no version id says nothing about any version.
      else if (isDefault && VersionId.safeParse(id).success) {
        const assignment: Assignment = { alias, version: id, revision };
        host.reportOutcome(assignment, { ...outcome, isDefault: true });
      }
    }
  }

  /** Counts of guarded tools, where there were any: a run without them says nothing about tools. */
  #counted(): Partial<ToolCounts> {
    const { toolCalls, toolErrors, writes, blockedWrites } = this.counts;
    return {
      ...(toolCalls > 0 && { toolCalls, toolErrors }),
      ...(writes > 0 && { writes }),
      ...(blockedWrites > 0 && { blockedWrites }),
    };
  }
}
