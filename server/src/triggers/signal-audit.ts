/**
 * Audit rows of signals that change nothing: those that change something have the row of their change. A monitoring system
 * repeats itself, and a stranger may try for ever, so there are at most so many rows a minute for each trigger.
 */
import type { AuditEvent } from "@flagback/schemas";
import { SYSTEM } from "../actors.ts";

const WINDOW_MS = 60_000;
/** Rows of signals that were let in, in a minute. */
const MAX_ACCEPTED = 60;
/** Rows of those that were not, in a minute. */
const MAX_REFUSED = 1;

type Row = Omit<AuditEvent, "id" | "timestamp">;

export class SignalAudit {
  readonly #append: (row: Row) => Promise<unknown>;
  readonly #monotonicMs: () => number;
  /** By trigger and kind: triggers are few. */
  readonly #windows = new Map<string, { startedMs: number; rows: number }>();

  constructor(append: (row: Row) => Promise<unknown>, monotonicMs: () => number) {
    this.#append = append;
    this.#monotonicMs = monotonicMs;
  }

  async accepted(trigger: string, row: Pick<Row, "summary" | "decisionId" | "incident">): Promise<void> {
    if (this.#hasRoom(`accepted ${trigger}`, MAX_ACCEPTED)) await this.#append(rowOf(trigger, "trigger.signal", row));
  }

  /** Who was refused is nobody that is known, so the server itself says it. */
  async refused(trigger: string, why: string): Promise<void> {
    if (!this.#hasRoom(`refused ${trigger}`, MAX_REFUSED)) return;
    const summary = `Refused a signal for ${trigger}: ${why}`;
    await this.#append({
      ...rowOf(trigger, "trigger.refused", { summary }),
      actor: SYSTEM,
    });
  }

  #hasRoom(key: string, rows: number): boolean {
    const nowMs = this.#monotonicMs();
    const found = this.#windows.get(key);
    const window = found && nowMs < found.startedMs + WINDOW_MS ? found : { startedMs: nowMs, rows: 0 };
    this.#windows.set(key, window);
    window.rows += 1;
    return window.rows <= rows;
  }
}

function rowOf(trigger: string, action: string, row: Pick<Row, "summary" | "decisionId" | "incident">): Row {
  return { actor: triggerActor(trigger), action, target: `trigger:${trigger}`, ...row };
}

/** Whoever fires a trigger acts in its name. */
export function triggerActor(id: string): AuditEvent["actor"] {
  return { kind: "trigger", name: `trigger:${id}`, id };
}
