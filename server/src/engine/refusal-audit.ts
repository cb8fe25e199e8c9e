/**
 * Audits that the gate refused somebody: who wanted up, why, and what stood against it. A refusal changes nothing, so the same
 * one again within a minute writes nothing either.
 */
import type { Command } from "@flagback/core";
import type { Actor, Alias, AuditEvent, ErrorCode, Refusal } from "@flagback/schemas";

/** At most one row so often for the same person, command and stage. */
const REFUSAL_AUDIT_INTERVAL_MS = 60_000;
/** Refusals that are remembered; one that is forgotten is audited again at once. */
const MAX_REMEMBERED = 1_000;

/** What is asked before a rollout goes up, and before it starts. */
const GATES: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["gate_closed", "drill_required"]);

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
    if (!GATES.has(refusal.code) || actor.kind === "brain" || !alias) return;
    const { name, rolloutNumber, rollout } = alias;
    const key = JSON.stringify([actor.kind, actor.id, command.kind, name, rolloutNumber, rollout?.stage]);
    const nowMs = this.#now();
    const lastMs = this.#noted.get(key);
    if (lastMs !== undefined && Math.abs(nowMs - lastMs) < REFUSAL_AUDIT_INTERVAL_MS) return;
    try {
      await this.#write(rowOf(command, alias, actor, refusal));
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
function rowOf(command: Command, alias: Alias, actor: Actor, refusal: Refusal): Row {
  return {
    actor,
    action: "gate.refused",
    target: `alias:${alias.name}`,
    ...("reason" in command && command.reason ? { reason: command.reason } : {}),
    ...versionsOf(command, alias),
    summary: `Refused: ${refusal.message}`,
  };
}

/** Where the command would have led from. What a start is refused for is no rollout yet. */
function versionsOf(command: Command, { stable, rollout }: Alias): Partial<Row> {
  if (command.kind === "startRollout") {
    return {
      ...(stable === null ? {} : { fromVersion: stable }),
      ...(command.candidate === undefined ? {} : { toVersion: command.candidate }),
    };
  }
  if (!rollout) return {};
  const { target, candidate, stage, policyHash } = rollout;
  return { fromVersion: target, toVersion: candidate, stage, configHash: policyHash };
}
