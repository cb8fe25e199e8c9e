/**
 * Audits what was allowed: one row for each excursion above half the needed evidence that ended in `allow`.
 */
import type { Verdict } from "@flagback/core";
import type { AuditEvent, Rollout } from "@flagback/schemas";

/** At most one row so often for an alias and stage. */
const ALLOW_AUDIT_INTERVAL_MS = 60_000;
/** Evidence above this part of what a stop needs is an excursion. */
const EXCURSION_PART = 0.5;

interface Peak {
  readonly stage: string;
  readonly verdict: Verdict;
  /** The last runs counted by then. */
  readonly runIds: readonly string[];
}

export class ExcursionAudit {
  readonly #write: (row: Omit<AuditEvent, "id" | "timestamp" | "actor">) => Promise<unknown>;
  readonly #monotonicMs: () => number;
  /** The highest verdict of the excursion under way, by alias. */
  readonly #peaks = new Map<string, Peak>();
  readonly #auditedAt = new Map<string, { readonly stage: string; readonly ms: number }>();

  constructor(
    write: (row: Omit<AuditEvent, "id" | "timestamp" | "actor">) => Promise<unknown>,
    monotonicMs: () => number,
  ) {
    this.#write = write;
    this.#monotonicMs = monotonicMs;
  }

  /** `lastRunIds` answers the last runs of the candidate that were counted. */
  async see(alias: string, rollout: Rollout, verdict: Verdict, lastRunIds: () => readonly string[]): Promise<void> {
    const stage = `${rollout.rolloutNumber} ${rollout.stage}`;
    const found = this.#peaks.get(alias);
    const peak = found?.stage === stage ? found : undefined;
    if (verdict.logE >= EXCURSION_PART * verdict.threshold) {
      if (!peak || verdict.logE > peak.verdict.logE) this.#peaks.set(alias, { stage, verdict, runIds: lastRunIds() });
      return;
    }
    const nowMs = this.#monotonicMs();
    const last = this.#auditedAt.get(alias);
    const isTooSoon = last?.stage === stage && nowMs - last.ms < ALLOW_AUDIT_INTERVAL_MS;
    // Forgotten only once it is written: a disk that refuses it is asked again.
    if (peak && !isTooSoon) {
      await this.#write(this.#rowOf(alias, rollout, peak));
      this.#auditedAt.set(alias, { stage, ms: nowMs });
    }
    this.#peaks.delete(alias);
  }

  #rowOf(
    alias: string,
    rollout: Rollout,
    { verdict: peak, runIds }: Peak,
  ): Omit<AuditEvent, "id" | "timestamp" | "actor"> {
    return {
      action: "verdict",
      target: `alias:${alias}`,
      decision: "allow",
      fromVersion: rollout.target,
      toVersion: rollout.candidate,
      stage: rollout.stage,
      evidence: [...peak.guardrails],
      lastRunIds: [...runIds],
      configHash: rollout.policyHash,
      summary: `Evidence against ${rollout.candidate} rose to ${peak.logE.toFixed(2)} of ${peak.threshold.toFixed(2)} and fell again; the rollout goes on.`,
    };
  }
}
