/**
 * When the bad segment began (BRAIN 2.7, last paragraph): the restart whose bet won most. The two restarts of one
 * alternative that are compared see the same likelihood from the later one on, so the better of them stays the better;
 * keeping the best restart of each alternative is therefore exact, however many restarts there were and wherever they froze.
 * A restart bets from the next tick on, and the grain of the estimate is a tick.
 */
import { ALTERNATIVES, LOG_PRIOR, newLogS } from "./detector.ts";

/** For each alternative its best restart. It explains and does not decide. */
export interface StartEstimate {
  /** Log of what the bet is worth. */
  logC: number[];
  /** The first tick it bet on; -1: none yet. */
  ticks: number[];
  /** Outcomes counted before it, and their badness in millionths. */
  n: number[];
  bad: number[];
}

export function newStart(): StartEstimate {
  return {
    logC: newLogS(),
    ticks: LOG_PRIOR.map(() => -1),
    n: LOG_PRIOR.map(() => 0),
    bad: LOG_PRIOR.map(() => 0),
  };
}

/** Multiplies a tick's likelihood in. */
export function stepStart({ logC, ticks }: StartEstimate, tick: number, logL: readonly number[]): void {
  for (let j = 0; j < ALTERNATIVES; j++) {
    if (ticks[j] === -1) ticks[j] = tick;
    logC[j] = (logC[j] as number) + (logL[j] as number);
  }
}

/** Offers the restarts of a tick's end or of a stage, of total weight `exp(logWeight)`, after `n` outcomes, `bad` of them bad. */
export function offerRestarts(start: StartEstimate, logWeight: number, n: number, bad: number): void {
  const { logC, ticks } = start;
  for (let j = 0; j < ALTERNATIVES; j++) {
    const offered = (LOG_PRIOR[j] as number) + logWeight;
    if (offered <= (logC[j] as number)) continue;
    logC[j] = offered;
    ticks[j] = -1;
    start.n[j] = n;
    start.bad[j] = bad;
  }
}

/** The first tick that the best of all bets bet on, and the outcomes before it; `null` before the first tick. */
export function startOf({ logC, ticks, n, bad }: StartEstimate): { tick: number; n: number; bad: number } | null {
  const best = logC.indexOf(Math.max(...logC));
  const tick = ticks[best] ?? -1;
  return tick === -1 ? null : { tick, n: n[best] ?? 0, bad: bad[best] ?? 0 };
}

export function cloneStart({ logC, ticks, n, bad }: StartEstimate): StartEstimate {
  return { logC: [...logC], ticks: [...ticks], n: [...n], bad: [...bad] };
}
