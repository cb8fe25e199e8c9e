/**
 * What is due by the clock: woken by the server's tick, it ends what has expired and does the parts' own duties, one after the
 * other. One that fails keeps no other from it, and is tried again with the next tick.
 */
import { hasExpiredFinishing } from "@flagback/core";
import { SYSTEM } from "./actors.ts";
import type { Engine } from "./engine/engine.ts";
import type { DiskHealth } from "./store/disk-health.ts";

export interface UpkeepParts {
  readonly engine: Pick<Engine, "world" | "execute">;
  readonly health: Pick<DiskHealth, "problem" | "check">;
  /** Done in this order, while the disk can be written. */
  readonly duties: readonly (() => unknown)[];
  readonly now: () => number;
  readonly onError: (error: unknown) => void;
}

export class Upkeep {
  readonly #parts: UpkeepParts;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
  }

  /** A second has passed. */
  wake(): void {
    if (this.#isClosed) return;
    this.#running ??= this.#doAll().finally(() => {
      this.#running = undefined;
    });
  }

  /** Finishes the duty under way and stops. Safe twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
  }

  async #doAll(): Promise<void> {
    const { health, duties, onError } = this.#parts;
    // It heals by itself, also where nobody asks.
    if (health.problem !== undefined && (await health.check()) !== undefined) return;
    for (const duty of [() => this.#expireEntries(), () => this.#expireFinishing(), ...duties]) {
      if (this.#isClosed) return;
      try {
        await duty();
      } catch (error) {
        onError(error);
      }
    }
  }

  async #expireEntries(): Promise<void> {
    const { engine, now } = this.#parts;
    const entries = [...engine.world.killSwitches.values()].flatMap((killSwitch) => killSwitch.engaged);
    if (entries.some(({ until }) => until !== undefined && Date.parse(until) <= now())) {
      await engine.execute({ kind: "expireEntries" }, SYSTEM);
    }
  }

  async #expireFinishing(): Promise<void> {
    const { engine, now } = this.#parts;
    if ([...engine.world.aliases.values()].some((alias) => hasExpiredFinishing(alias, now()))) {
      await engine.execute({ kind: "expireFinishing" }, SYSTEM);
    }
  }
}
