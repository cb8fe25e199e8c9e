/**
 * The counts of a ledger's ticks, and of each runtime within one: found, or opened at their place, as both lists are kept sorted.
 */
import type { CompiledGuardrail } from "./compiled.ts";
import { type Arm, type Counts, newCounts, type RuntimeCounts } from "./counts.ts";
import type { LedgerPrefix } from "./prefix.ts";

/** One arm of a tick. */
export interface ArmCounts {
  /** The sum over the runtimes, kept up to date by every function of the ledger. */
  total: Counts;
  /** Ascending by the runtime's name, so that the order of arrival leaves no trace. */
  runtimes: RuntimeCounts[];
}

export interface TickCounts {
  /** The server's tick, an integer from 0. */
  tick: number;
  arms: Record<Arm, ArmCounts>;
}

/** What of a ledger its ticks need. */
interface Ticked {
  readonly guardrails: readonly CompiledGuardrail[];
  readonly prefix: LedgerPrefix;
  /** Ascending. */
  readonly ticks: TickCounts[];
}

/** The runtime's counts in one arm of a tick. */
export function runtimeIn(side: ArmCounts, runtime: string): RuntimeCounts | undefined {
  const found = side.runtimes[indexOf(side.runtimes.length, (i) => (side.runtimes[i]?.runtime ?? "") < runtime)];
  return found?.runtime === runtime ? found : undefined;
}

/** The tick, new where nothing was counted in it. @throws RangeError where it is frozen. */
export function openTick(ledger: Ticked, tick: number): TickCounts {
  const found = findTick(ledger, tick);
  if (found) return found;
  if (!Number.isSafeInteger(tick) || tick < 0) throw new RangeError(`a tick is an integer from 0, not ${tick}`);
  if (tick <= ledger.prefix.throughTick) throw frozen(ledger, tick);
  const newArm = (): ArmCounts => ({ total: newCounts(ledger.guardrails), runtimes: [] });
  const counts: TickCounts = { tick, arms: { candidate: newArm(), stable: newArm() } };
  ledger.ticks.splice(tickIndex(ledger.ticks, tick), 0, counts);
  return counts;
}

/** The runtime's counts, new where it has none. */
export function openRuntime(ledger: Ticked, side: ArmCounts, runtime: string): RuntimeCounts {
  const index = indexOf(side.runtimes.length, (i) => (side.runtimes[i]?.runtime ?? "") < runtime);
  const found = side.runtimes[index];
  if (found?.runtime === runtime) return found;
  const counts = { runtime, ...newCounts(ledger.guardrails) };
  side.runtimes.splice(index, 0, counts);
  return counts;
}

export function findTick(ledger: Ticked, tick: number): TickCounts | undefined {
  const last = ledger.ticks.at(-1);
  if (last === undefined || last.tick < tick) return undefined;
  if (last.tick === tick) return last;
  const found = ledger.ticks[tickIndex(ledger.ticks, tick)];
  return found?.tick === tick ? found : undefined;
}

function tickIndex(ticks: readonly TickCounts[], tick: number): number {
  return indexOf(ticks.length, (i) => (ticks[i] as TickCounts).tick < tick);
}

/** The first index that is not before what is looked for; the list's length where all are. */
function indexOf(length: number, isBefore: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Says why nothing is counted any more. */
export function frozen(ledger: Ticked, tick: number): RangeError {
  return new RangeError(`tick ${tick} is frozen; ticks through ${ledger.prefix.throughTick} no longer change`);
}
