/**
 * Budgets: money, counted exactly. An hour is 60 blocks of 60 ticks: the block of the tick that is judged and the 59 before
 * it, hence between 3 541 and 3 600 ticks. Cost counts in the tick in which its run was assigned. Ticks advance only while
 * the server runs, so this is an hour of the server's time.
 */
import type { Counts, GuardrailCounts } from "./counts.ts";
import type { GuardrailState } from "./prefix.ts";

const BLOCK_TICKS = 60;
const BLOCKS = 60;

/** Adds a tick of a critical event's or a budget's counts, and forgets what was spent longer than an hour ago. */
export function stepCount(state: GuardrailState, g: number, tick: number, candidate: Counts): void {
  const { judged, bad } = candidate.guardrails[g] as GuardrailCounts;
  const block = Math.floor(tick / BLOCK_TICKS);
  const last = state.spent.at(-1);
  if (last?.block === block) last.microdollars += bad;
  else state.spent.push({ block, microdollars: bad });
  while ((state.spent[0]?.block ?? block) <= block - BLOCKS) state.spent.shift();
  state.totals.candidate.n += judged;
  state.totals.candidate.bad += bad;
}

/** Microdollars spent in the hour that ends with the last tick. */
export function spentInHour({ spent }: GuardrailState): number {
  return spent.reduce((sum, { microdollars }) => sum + microdollars, 0);
}
