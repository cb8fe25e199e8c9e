/**
 * What is known of each runtime instance: its last counted batch and its open assignments.
 */
import type { JudgedCell, OpenRow } from "./rollout-ledger.ts";

export interface InstanceState {
  readonly instance: string;
  readonly tokenId: string;
  /** Last batch counted in memory. */
  through: number;
  /** Last batch counted durably. */
  durableThrough: number;
  /** Items that the schema refused since the last counts that are durable. */
  refused: number;
  /** Assignments left open, by the batch that announced them. */
  readonly rows: Map<number, OpenRow[]>;
  /** Where its assignments of the tick it last announced any in are counted. */
  cells: JudgedCell[];
  /** Tick at which its socket died in silence. */
  lostSince: number | null;
  isConnected: boolean;
  /** Tick at which it was last connected. */
  seenTick: number;
  markedIn?: object;
}

/** Names an assignment within its instance. */
export interface RowName {
  readonly seq: number;
  readonly alias: string;
  readonly version: string;
}

/** The assignment of that name among those of one batch. */
export function findRow(rows: readonly OpenRow[] | undefined, { seq, alias, version }: RowName): OpenRow | undefined {
  if (rows === undefined) return undefined;
  for (const row of rows) if (row.seq === seq && row.alias === alias && row.version === version) return row;
  return undefined;
}

/** Instances with nothing open are forgotten so many ticks after they went; one that never reported, at once. */
const IDLE_TICKS = 3_600;
/** Of those, so many are remembered at once: whoever has a runtime's token can be a new instance again and again. */
export const MAX_IDLE_INSTANCES = 100_000;

export class Instances {
  readonly #states = new Map<string, InstanceState>();

  find(instance: string): InstanceState | undefined {
    return this.#states.get(instance);
  }

  /** The instance's state, new where it was never seen. */
  open(instance: string, tokenId: string, tick: number): InstanceState {
    const found = this.#states.get(instance);
    if (found) return found;
    const state: InstanceState = {
      instance,
      tokenId,
      through: 0,
      durableThrough: 0,
      refused: 0,
      rows: new Map(),
      cells: [],
      lostSince: null,
      isConnected: false,
      seenTick: tick,
    };
    this.#states.set(instance, state);
    return state;
  }

  /** Forgets those that are gone for good. A forgotten one that comes back begins again, as after a restored database. */
  forgetIdle(tick: number): void {
    const idle: string[] = [];
    for (const state of this.#states.values()) {
      const isSettled = state.rows.size === 0 && state.durableThrough === state.through;
      if (state.isConnected || !isSettled) continue;
      const hasReported = state.through > 0;
      if (!hasReported || tick - state.seenTick > IDLE_TICKS) this.#states.delete(state.instance);
      else idle.push(state.instance);
    }
    // Those that came first go first.
    for (const instance of idle.slice(0, Math.max(0, idle.length - MAX_IDLE_INSTANCES))) this.#states.delete(instance);
  }
}
