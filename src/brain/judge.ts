/**
 * The verdict on a ledger (BRAIN 2.5 and 2.6): replays the detectors over the open ticks, in order, with pending runs
 * counted as good, and stops at the first tick where the weighted sum over the guardrails reaches its threshold.
 */
import type { Attribution, GuardrailEvidence, StopReason } from "@flagback/schemas";
import {
  addRestarts,
  addStageLump,
  type Grid,
  gridOf,
  logEvidence,
  logSpent,
  logSumExp,
  logThreshold,
  MILLIONTHS,
  multiplyCounts,
  multiplyFractions,
} from "./detector.ts";
import type { CompiledGuardrail } from "./guardrails.ts";
import {
  clonePrefix,
  type GuardrailCounts,
  type Ledger,
  type LedgerPrefix,
  pendingOf,
  type TickCounts,
} from "./ledger.ts";

interface Judgement {
  /** Log of the weighted sum of e-values, at the deciding tick or the last one. */
  readonly logE: number;
  /** The highest it ever was. */
  readonly peakLogE: number;
  /** ln(C / alpha). */
  readonly threshold: number;
  /** The deciding tick, or the last one with counts; `null` where there is none. */
  readonly tick: number | null;
  /** How each guardrail stood at that tick. */
  readonly guardrails: GuardrailEvidence[];
  /** Name of the automatic guardrail that weighs most in the sum. */
  readonly leading: string;
}

/** What the brain concludes. Absolute crossings are `undetermined` until stable's ledger is judged beside the candidate's. */
export type Verdict =
  | (Judgement & { readonly kind: "allow"; readonly reason?: undefined; readonly attribution?: undefined })
  | (Judgement & { readonly kind: "stop"; readonly reason: StopReason; readonly attribution: Attribution });

/** Judges the ledger. Pure: the same ledger gives the same verdict, also after JSON. */
export function judge(ledger: Ledger): Verdict {
  const state = clonePrefix(ledger.prefix);
  replay(ledger, state, Number.POSITIVE_INFINITY);
  const judgement = judgementOf(ledger, state);
  return state.crossed
    ? { kind: "stop", reason: "sla_breach", attribution: "undetermined", ...judgement }
    : { kind: "allow", ...judgement };
}

/**
 * Moves the ticks up to and including `tick` into the prefix, which never changes the verdict. Changes the ledger in place.
 * @throws RangeError where one of them has a pending run: its counts could still change.
 */
export function freezeThrough(ledger: Ledger, tick: number): void {
  if (tick <= ledger.prefix.throughTick) return;
  const open = ledger.ticks.findIndex((counts) => counts.tick > tick);
  const frozen = open === -1 ? ledger.ticks : ledger.ticks.slice(0, open);
  for (const counts of frozen) {
    const pending = counts.assigned - counts.settled - counts.missing - counts.lost;
    if (pending !== 0) throw new RangeError(`tick ${counts.tick} cannot freeze: ${pending} of its runs are pending`);
  }
  replay(ledger, ledger.prefix, tick);
  ledger.ticks = open === -1 ? [] : ledger.ticks.slice(open);
}

/** Advances `state` over the ticks up to and including `throughTick`. Judging and freezing are this one walk. */
function replay(ledger: Ledger, state: LedgerPrefix, throughTick: number): void {
  const grids = ledger.guardrails.map((guardrail) => gridOf(guardrail.p0));
  const logShares = ledger.guardrails.map((guardrail) => Math.log(guardrail.share));
  const threshold = logThreshold(ledger.alpha, ledger.stages);
  for (const counts of ledger.ticks) {
    if (counts.tick > throughTick || state.crossed) break;
    beginStages(ledger, state, counts.tick);
    replayTick(ledger.guardrails, grids, counts, state);
    const logE = weightedLogE(logShares, state.logE);
    state.tick = counts.tick;
    state.throughTick = counts.tick;
    if (logE > state.peakLogE) state.peakLogE = logE;
    // Decided before restarts are added: they bet from the next outcome on.
    if (logE >= threshold) state.crossed = true;
    else endTick(counts, state);
  }
  if (throughTick === Number.POSITIVE_INFINITY) return;
  if (!state.crossed) beginStages(ledger, state, throughTick);
  state.throughTick = throughTick;
}

/** Adds the lumps of stages that began after the last tick gone through and not after `tick`. */
function beginStages(ledger: Ledger, state: LedgerPrefix, tick: number): void {
  for (const lumpTick of ledger.lumpTicks) {
    if (lumpTick > state.throughTick && lumpTick <= tick) state.detectors.forEach(addStageLump);
  }
}

function replayTick(
  guardrails: readonly CompiledGuardrail[],
  grids: readonly Grid[],
  counts: TickCounts,
  state: LedgerPrefix,
): void {
  const pending = pendingOf(counts);
  for (let g = 0; g < guardrails.length; g++) {
    // Every array has one entry for each guardrail.
    const { judged, bad, bins } = counts.guardrails[g] as GuardrailCounts;
    const missing = (guardrails[g] as CompiledGuardrail).kind === "error_rate" ? counts.missing : 0;
    const grid = grids[g] as Grid;
    const logS = state.detectors[g] as number[];
    const badTotal = bad + missing * MILLIONTHS;
    const n = judged + pending + missing;
    if (bins) multiplyFractions(logS, grid, bins, pending);
    else multiplyCounts(logS, grid, n - badTotal / MILLIONTHS, badTotal / MILLIONTHS);
    state.logE[g] = logEvidence(logS);
    const total = state.totals[g] as { n: number; bad: number };
    total.n += n;
    total.bad += badTotal;
  }
}

function endTick(counts: TickCounts, state: LedgerPrefix): void {
  const logWeight = logSpent(state.assigned, counts.assigned);
  for (const logS of state.detectors) addRestarts(logS, logWeight);
  state.assigned += counts.assigned;
}

/** `ln(sum of v_i E_i)`. An observed guardrail has share 0, hence weight `-Infinity`. */
function weightedLogE(logShares: readonly number[], logE: readonly number[]): number {
  return logSumExp(weightedTerms(logShares, logE));
}

function weightedTerms(logShares: readonly number[], logE: readonly number[]): number[] {
  return logShares.map((logShare, g) => logShare + (logE[g] as number));
}

function judgementOf(ledger: Ledger, state: LedgerPrefix): Judgement {
  const threshold = logThreshold(ledger.alpha, ledger.stages);
  const terms = weightedTerms(
    ledger.guardrails.map((guardrail) => Math.log(guardrail.share)),
    state.logE,
  );
  const leading = ledger.guardrails[terms.indexOf(Math.max(...terms))];
  const guardrails = ledger.guardrails.map((guardrail, g): GuardrailEvidence => {
    // Both arrays have one entry for each guardrail.
    const { n, bad } = state.totals[g] as { n: number; bad: number };
    const k = bad / MILLIONTHS;
    const { name, p0, share } = guardrail;
    return { guardrail: name, n, k, rate: n === 0 ? 0 : k / n, p0, logE: state.logE[g] as number, share, threshold };
  });
  return {
    logE: logSumExp(terms),
    peakLogE: state.peakLogE,
    threshold,
    tick: state.tick,
    guardrails,
    leading: leading?.name ?? "",
  };
}
