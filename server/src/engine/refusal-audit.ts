/**
 * Audits that the gate refused somebody: who wanted up, why, and what stood against it. A refusal changes nothing, so the same
 * one again within a minute writes nothing either.
 */
import type { Command } from "@flagback/core";
import type { Actor, Alias, AuditEvent, Refusal } from "@flagback/schemas";

/** At most one row so often for the same person, command and stage. */
const REFUSAL_AUDIT_INTERVAL_MS = 60_000;
/** Refusals that are remembered; one that is forgotten is audited again at once. */
const MAX_REMEMBERED = 1_000;

type Row = Omit<AuditEvent, "id" | "timestamp">;

export class RefusalAudit {
  readonly #write: (row: Row) => Promise<unknown>;
  readonly #now: () => number;
  /** When each was last written. */
  readonly #noted = new Map<string, number>();

  constructor(write: (row: Row) => Promise<unknown>, now: () => number) {
    this.#write = write;
    this.#now = now;
  }

  /** Never fails: the refusal is the answer, whether or not it can be noted. The brain asks every second and is not noted. */
  async note(command: Command, alias: Alias | undefined, actor: Actor, refusal: Refusal): Promise<void> {
    if (refusal.code !== "gate_closed" || actor.kind === "brain" || !alias?.rollout) return;
    const { rolloutNumber, stage } = alias.rollout;
    const key = JSON.stringify([actor.kind, actor.id, command.kind, alias.name, rolloutNumber, stage]);
    const nowMs = this.#now();
    const lastMs = this.#noted.get(key);
    if (lastMs !== undefined && Math.abs(nowMs - lastMs) < REFUSAL_AUDIT_INTERVAL_MS) return;
    try {
      await this.#write(rowOf(command, alias, alias.rollout, actor, refusal));
      this.#remember(key, nowMs);
    } catch {
      // The store has told whoever watches the disk; the next refusal is noted instead.
    }
  }

  #remember(key: string, atMs: number): void {
    this.#noted.delete(key);
    this.#noted.set(key, atMs);
    const [oldest] = this.#noted.keys();
    if (this.#noted.size > MAX_REMEMBERED && oldest !== undefined) this.#noted.delete(oldest);
  }
}

/** Neither an `allow` nor a `stop`: nothing was decided about the candidate. */
function rowOf(
  command: Command,
  { name }: Alias,
  { target, candidate, stage, policyHash }: NonNullable<Alias["rollout"]>,
  actor: Actor,
  refusal: Refusal,
): Row {
  return {
    actor,
    action: "gate.refused",
    target: `alias:${name}`,
    ...("reason" in command && command.reason ? { reason: command.reason } : {}),
    fromVersion: target,
    toVersion: candidate,
    stage,
    configHash: policyHash,
    summary: `Refused: ${refusal.message}`,
  };
}
