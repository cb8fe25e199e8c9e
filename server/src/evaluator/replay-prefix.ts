/**
 * Replays the frozen part of a decision's ledger against the ticks still kept of its rollout, which may be those of a day:
 * page by page, so that the server does other things meanwhile.
 */
import { setImmediate } from "node:timers/promises";
import { ARMS, addCounts, freezeThrough, type Ledger, newLedger } from "@flagback/core";
import type { FrozenTick, TickPage } from "../store/store.ts";

/** Ticks that are read and added before others have their turn. */
const TICKS_PER_TURN = 100;
/** Logs of e-values agree to this across machines (BRAIN 2.6). */
const TOLERANCE = 1e-12;
/** The runtimes' own rows are not kept once a tick is frozen; their sum stands under this name. */
const ALL_RUNTIMES = "all";

/** Reads the frozen ticks of the decision's rollout, ascending. */
export type ReadTicks = (page: TickPage) => Promise<readonly FrozenTick[]>;

export interface ReplayedPrefix {
  /** Whether the frozen part follows from the kept ticks; `not_kept` where they don't reach back to its start. */
  readonly prefix: "identical" | "different" | "not_kept" | "empty";
  readonly prefixTicks: number;
}

/** Ticks that are dropped meanwhile are not kept: those of a rollout go oldest first, and none comes to a frozen part. */
export async function replayPrefix(input: Ledger, read: ReadTicks): Promise<ReplayedPrefix> {
  const { throughTick, assigned } = input.prefix;
  const again = newLedger(input.guardrails, input.alpha, input.stages);
  again.lumpTicks = [...input.lumpTicks];
  if (input.thresholds) again.thresholds = [...input.thresholds];
  let prefixTicks = 0;
  let oldest: number | undefined;
  const sums = { candidate: 0, stable: 0 };
  for await (const page of pages(read, throughTick)) {
    oldest ??= page[0]?.tick;
    prefixTicks += page.length;
    addPage(again, page);
    for (const arm of ARMS) sums[arm] += page.reduce((sum, tick) => sum + tick[arm].assigned, 0);
  }
  if (assigned.candidate + assigned.stable === 0) return { prefix: "empty", prefixTicks };
  const [still] = await read({ limit: 1 });
  const isKept = still?.tick === oldest && ARMS.every((arm) => sums[arm] === assigned[arm]);
  if (!isKept) return { prefix: "not_kept", prefixTicks };
  return { prefix: isSamePrefix(input, again) ? "identical" : "different", prefixTicks };
}

async function* pages(read: ReadTicks, throughTick: number): AsyncGenerator<readonly FrozenTick[]> {
  let after: number | undefined;
  for (;;) {
    const page = await read({ after, through: throughTick, limit: TICKS_PER_TURN });
    yield page;
    if (page.length < TICKS_PER_TURN) return;
    after = page.at(-1)?.tick;
    await setImmediate();
  }
}

/** Freezing many ticks at once is the same as one by one, and cheaper. */
function addPage(ledger: Ledger, page: readonly FrozenTick[]): void {
  for (const { tick, candidate, stable } of page) {
    addCounts(ledger, { ...candidate, arm: "candidate", runtime: ALL_RUNTIMES, tick });
    addCounts(ledger, { ...stable, arm: "stable", runtime: ALL_RUNTIMES, tick });
  }
  const last = page.at(-1);
  if (last) freezeThrough(ledger, last.tick);
}

function isSamePrefix(before: Ledger, again: Ledger): boolean {
  return before.prefix.guardrails.every((was, index) => {
    const is = again.prefix.guardrails[index];
    return (
      is !== undefined &&
      allClose(was.candidate, is.candidate) &&
      allClose(was.stable, is.stable) &&
      isClose(was.logE, is.logE)
    );
  });
}

function allClose(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, index) => isClose(value, b[index] ?? Number.NaN));
}

export function isClose(a: number, b: number): boolean {
  return a === b || Math.abs(a - b) <= TOLERANCE * Math.max(1, Math.abs(a), Math.abs(b));
}
