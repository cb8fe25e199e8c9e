/**
 * Audits that a signal came again after the rollback that it asks for: whoever wonders why nothing happened finds out there.
 */
import type { Actor, AuditEvent, Incident } from "@flagback/schemas";

/** At most one row so often for a rollback; the next one says how many signals came meanwhile. */
const REPEAT_AUDIT_INTERVAL_MS = 60_000;
/** Rollbacks that are remembered; of one that is forgotten the next signal is audited at once. */
const MAX_REMEMBERED = 1_000;

export class RepeatAudit {
  readonly #write: (row: Omit<AuditEvent, "id" | "timestamp">) => Promise<unknown>;
  readonly #now: () => number;
  /** By decision: when its last row was written, and how many signals came since. */
  readonly #noted = new Map<string, { readonly atMs: number; readonly since: number }>();

  constructor(write: (row: Omit<AuditEvent, "id" | "timestamp">) => Promise<unknown>, now: () => number) {
    this.#write = write;
    this.#now = now;
  }

  /** Never fails: what can't be noted must not turn the answer to an emergency into an error. */
  async note(incident: Incident, actor: Actor): Promise<void> {
    const { decisionId } = incident;
    const nowMs = this.#now();
    const last = this.#noted.get(decisionId);
    const signals = (last?.since ?? 0) + 1;
    if (last && Math.abs(nowMs - last.atMs) < REPEAT_AUDIT_INTERVAL_MS) {
      this.#noted.set(decisionId, { ...last, since: signals });
      return;
    }
    try {
      await this.#write(rowOf(incident, actor, signals));
      this.#remember(decisionId, nowMs);
    } catch {
      // The store has told whoever watches the disk; the next signal is noted instead.
    }
  }

  #remember(decisionId: string, atMs: number): void {
    this.#noted.delete(decisionId);
    this.#noted.set(decisionId, { atMs, since: 0 });
    const [oldest] = this.#noted.keys();
    if (this.#noted.size > MAX_REMEMBERED && oldest !== undefined) this.#noted.delete(oldest);
  }
}

function rowOf(incident: Incident, actor: Actor, signals: number): Omit<AuditEvent, "id" | "timestamp"> {
  const { alias, candidate, target, stage, decisionId, id } = incident;
  const times = signals === 1 ? "A signal asked" : `${signals} signals asked`;
  return {
    actor,
    action: "rollback.repeated",
    target: `alias:${alias}`,
    decision: "stop",
    reason: "already_rolled_back",
    fromVersion: candidate,
    toVersion: target,
    stage,
    decisionId,
    incident: id,
    summary: `${times} for the rollback of ${candidate}, which incident ${id} records already; nothing was changed.`,
  };
}
