/**
 * What time does to a rollout's counts: runs without a report go missing, and ticks that no longer change are frozen.
 */
import { beginTick } from "@flagback/core";
import type { OpenRow, RolloutLedger } from "./rollout-ledger.ts";
import type { TickClock } from "./tick-clock.ts";
import type { Unwritten } from "./unwritten.ts";

/** An instance that vanished without closing its socket keeps its runs pending for so long; then they are lost, not bad. */
const LOST_INSTANCE_TICKS = 600;

export interface Passing {
  readonly clock: TickClock;
  readonly unwritten: Unwritten;
  /** The tick at which an instance's socket died in silence; null for one that is there, or closed it. */
  readonly lostSince: (instance: string) => number | null;
  /** The assignment has nothing left to settle. */
  readonly close: (row: OpenRow) => void;
}

/** Times out and freezes what is old enough. Answers whether anything changed. */
export function advanceRollout(rollout: RolloutLedger, time: Passing): boolean {
  const { clock, unwritten } = time;
  let frozen = -1;
  let changed = false;
  // A vanished host's runs keep their tick open, and so every later one from freezing, but nobody else's from their timeout.
  let isBlocked = false;
  beginTick(rollout.ledger, clock.now());
  for (const tick of rollout.openTicks()) {
    if (!clock.isTimedOut(tick, rollout.timeoutTicks)) break;
    changed = settleOverdue(rollout, tick, time) || changed;
    changed = releaseHeld(rollout, tick, unwritten) || changed;
    isBlocked ||= rollout.open.has(tick);
    if (!isBlocked) frozen = tick;
  }
  if (frozen < 0) return changed;
  for (const { tick, arms } of rollout.ledger.ticks) {
    if (tick > frozen) break;
    unwritten.freeze({ ...rollout.key, tick, candidate: arms.candidate.total, stable: arms.stable.total });
  }
  rollout.freezeThrough(frozen);
  unwritten.ledgers.add(rollout);
  return true;
}

/** Runs that are open are lost, and count neither for nor against their version. */
export function loseOpen(rollout: RolloutLedger, { unwritten, close }: Passing): void {
  for (const row of [...rollout.open.values()].flatMap((rows) => [...rows])) {
    rollout.giveUp(row, "lost");
    close(row);
    unwritten.touch(row);
  }
}

/** Runs whose time is up: missing, or lost where their host vanished long ago; pending while it may come back. */
function settleOverdue(rollout: RolloutLedger, tick: number, { clock, unwritten, lostSince, close }: Passing): boolean {
  let changed = false;
  for (const row of [...(rollout.open.get(tick) ?? [])]) {
    const since = lostSince(row.instance);
    if (since !== null && clock.now() - since <= LOST_INSTANCE_TICKS) continue;
    rollout.giveUp(row, since === null ? "missing" : "lost");
    close(row);
    unwritten.touch(row);
    changed = true;
  }
  return changed;
}

/** Reports without an assignment are judged from now on. */
function releaseHeld(rollout: RolloutLedger, tick: number, unwritten: Unwritten): boolean {
  const released = rollout.releaseHeld(tick);
  if (released.length === 0) return false;
  unwritten.closeHeldTick({ ...rollout.key, tick });
  for (const { arm, runtime } of released) unwritten.cells.add(rollout.cellOf(arm, runtime, tick));
  return true;
}
