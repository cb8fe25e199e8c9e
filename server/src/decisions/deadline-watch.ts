/**
 * Keeps the deadlines of open decisions: woken by the server's tick, it says for those who did not answer what the policy
 * does. What is open is read from the world, so a restart forgets none.
 */
import { type AskedDecision, FlagbackError } from "@flagback/schemas";
import { BRAIN } from "../actors.ts";
import type { Engine } from "../engine/engine.ts";
import { isDue, remainingMs } from "./deadline.ts";

export interface DeadlineParts {
  readonly engine: Engine;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  readonly onError: (error: unknown, decision: string) => void;
}

export class DeadlineWatch {
  readonly #parts: DeadlineParts;
  /** Since when each time of asking is watched, and for how long, in milliseconds that never go back. */
  #watched: ReadonlyMap<string, { readonly sinceMs: number; readonly forMs: number }> = new Map();
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(parts: DeadlineParts) {
    this.#parts = parts;
  }

  /** Time has passed. */
  wake(): void {
    if (this.#isClosed || this.#running !== undefined) return;
    const due = this.#due();
    if (due.length === 0) return;
    this.#running = this.#expireAll(due).finally(() => {
      this.#running = undefined;
    });
  }

  /** Finishes what is under way and stops. Safe twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
  }

  #due(): AskedDecision[] {
    const { engine, now, monotonicMs } = this.#parts;
    const open = [...engine.world.asked.values()].filter(({ state }) => state === "open");
    const watched = new Map(
      open.map((asked) => {
        const key = keyOf(asked);
        const found = this.#watched.get(key);
        return [key, found ?? { sinceMs: monotonicMs(), forMs: remainingMs(asked, now()) }];
      }),
    );
    this.#watched = watched;
    return open.filter((asked) => {
      const { sinceMs = 0, forMs = 0 } = watched.get(keyOf(asked)) ?? {};
      return isDue(asked, { nowMs: now(), waitedMs: monotonicMs() - sinceMs, forMs });
    });
  }

  async #expireAll(due: readonly AskedDecision[]): Promise<void> {
    for (const { id, alias, round, openedAt, deadline, atDeadline } of due) {
      const kind = atDeadline === "rollback" ? "approve" : "reject";
      const reason = `nobody answered from ${openedAt} to ${deadline}`;
      try {
        await this.#parts.engine.execute({ kind, alias, decision: id, round, reason, isDeadline: true }, BRAIN);
      } catch (error) {
        // Somebody was faster. Anything else is tried again with the next tick.
        if (!(error instanceof FlagbackError && error.code === "decision_not_open")) this.#parts.onError(error, id);
      }
    }
  }
}

function keyOf({ id, round }: AskedDecision): string {
  return `${id} ${round}`;
}
