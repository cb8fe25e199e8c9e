/**
 * How one run went: reported once, for every version that the run was handed itself.
 */
import { VersionId } from "@flagback/schemas";
import type { Clock } from "../clock.ts";
import type { Announcement } from "../outcomes/assignments.ts";
import { fieldsOf } from "../outcomes/outcome.ts";
import type { RunHost } from "../run-host.ts";
import { describeThrown } from "../thrown.ts";
import { isOfAlias, type Pin } from "./pins.ts";

/** What tools add to a run's outcome. */
export interface ToolCounts {
  toolCalls: number;
  toolErrors: number;
  writes: number;
  blockedWrites: number;
}

export interface RunOutcomeParts {
  readonly runId: string;
  readonly conversationId: string | undefined;
  readonly host: RunHost | undefined;
  readonly clock: Clock;
}

interface Handed {
  readonly pin: Pin;
  /** Null for a fallback, which is announced with its outcome, and for a flag that is no alias. */
  readonly announcement: Announcement | null;
  isReported: boolean;
}

export class RunOutcome {
  readonly counts: ToolCounts = { toolCalls: 0, toolErrors: 0, writes: 0, blockedWrites: 0 };
  readonly #parts: RunOutcomeParts;
  readonly #handed: Handed[] = [];
  readonly #startedMs: number;
  readonly #startedAt: string;
  #report: Readonly<Record<string, unknown>> | null = null;
  #isClosed = false;

  constructor(parts: RunOutcomeParts) {
    this.#parts = parts;
    this.#startedMs = parts.clock.monotonicMs();
    this.#startedAt = new Date(parts.clock.wallMs()).toISOString();
  }

  /** The run was handed a version. One that comes after the report is reported the same way. */
  add(pin: Pin): void {
    const { host, clock } = this.#parts;
    const { alias, version, revision } = pin;
    const isAnnounced = isOfAlias(pin) && !this.#isClosed;
    const ageMs = clock.monotonicMs() - this.#startedMs;
    const announcement = isAnnounced ? (host?.assign({ alias, version, revision }, ageMs) ?? null) : null;
    this.#handed.push({ pin, announcement, isReported: false });
    if (this.#report) this.#send();
  }

  /** The first report counts. */
  report(report: unknown): void {
    if (this.#report) return;
    this.#report = fieldsOf(report);
    this.#send();
  }

  /** From here on versions are handed out without being announced. */
  close(): void {
    this.#isClosed = true;
  }

  /** Never throws: what an agent returns or throws must not be replaced by a report that failed. */
  #send(): void {
    try {
      this.#sendAll();
    } catch (error) {
      this.#parts.host?.warn("run.report", `a run could not be reported: ${describeThrown(error)}`);
    }
  }

  #sendAll(): void {
    const { host, clock, runId, conversationId } = this.#parts;
    if (!host) return;
    const outcome = {
      ...this.#counted(),
      durationMs: clock.monotonicMs() - this.#startedMs,
      startedAt: this.#startedAt,
      endedAt: new Date(clock.wallMs()).toISOString(),
      ...this.#report,
      runId,
      conversationId,
    };
    for (const handed of this.#handed) {
      if (handed.isReported) continue;
      handed.isReported = true;
      const { alias, isDefault, revision, version } = handed.pin;
      if (handed.announcement) host.reportOutcome(handed.announcement, outcome);
      // A fallback that is no version id says nothing about any version.
      else if (isDefault && VersionId.safeParse(version).success) {
        host.reportOutcome({ alias, version, revision }, { ...outcome, isDefault: true });
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
