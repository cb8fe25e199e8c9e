/**
 * Where replaying stands after the last tick that it went through. Plain JSON; frozen ticks live on in it alone.
 */
import { EXCLUSIONS } from "./badness.ts";
import { type CompiledGuardrail, isStatistical } from "./compiled.ts";
import type { Arm } from "./counts.ts";
import { newLogS, START_LOG_E } from "./detector.ts";
import { cloneRelative, newRelative, type RelativeState } from "./relative.ts";
import { cloneStart, newStart, type StartEstimate } from "./start-estimate.ts";
import type { StandingVerdict, StopVerdict } from "./verdict.ts";

/** The two detectors of one guardrail that decide; six logarithms each, none where the guardrail is no statistic. */
export interface Detectors {
  /** Against p0; of a guardrail that compares, against its floor. */
  candidate: number[];
  /** Against the odds ratio. Of a guardrail with a fixed threshold it serves attribution only. */
  relative: RelativeState | null;
}

/** Outcomes counted, pending ones as good, and their badness in millionths. */
export interface Totals {
  n: number;
  bad: number;
}

/** How one guardrail stands. What decides takes 72 bytes: six logarithms, n, bad and logE; the rest explains. */
export interface GuardrailState extends Detectors {
  /** Stable's own, against p0; empty for a guardrail that compares. */
  stable: number[];
  /** The highest logE of the relative detector so far. */
  relativePeak: number;
  /** logE as it was decided on at the prefix's tick. */
  logE: number;
  totals: Record<Arm, Totals>;
  /** The totals when a stage's threshold changed which runs are bad; they say nothing about the threshold in force. */
  before?: Readonly<Record<Arm, Readonly<Totals>>>;
  start: StartEstimate | null;
  /** Budgets only: microdollars by block of 60 ticks, of the last hour. */
  spent: { block: number; microdollars: number }[];
}

/** What stays of one runtime: when it was last here, what it carried, and the detectors of all the others. */
export interface RuntimeState {
  runtime: string;
  /** True for a bucket that runtimes beyond the limit share; `runtime` is then its number. */
  isShared: boolean;
  /** The last tick in which it was assigned a run, on any arm. */
  lastTick: number;
  /** Its candidate runs. */
  assigned: number;
  /** Its bad counts on the candidate, for each guardrail, in millionths; 0 where the guardrail decides nothing. */
  bad: number[];
  /** For each guardrail; `null` where it decides nothing. */
  others: (Detectors | null)[];
}

/** Tests of the exposure itself: what ends in an excluded class, and who gets which version. */
export interface ExposureState {
  /** Relative detectors, in the order of EXCLUSIONS. */
  exclusions: RelativeState[];
  /** Excluded runs by class, and all runs. */
  excluded: Record<Arm, number[]>;
  runs: Record<Arm, number>;
  /** Detectors of too many and of too few candidate assignments. */
  above: number[];
  below: number[];
  /** Ticks tested against an expected share: the argument of their own spending schedule. */
  tested: number;
}

export interface LedgerPrefix {
  /** Every tick up to it is frozen; -1 before the first. */
  throughTick: number;
  /** Runs assigned in the ticks gone through. */
  assigned: Record<Arm, number>;
  guardrails: GuardrailState[];
  /** Highest logE of the weighted sum so far. */
  peakLogE: number;
  /** The last tick with counts, or the deciding one; `null` before the first. */
  tick: number | null;
  exposure: ExposureState;
  /** Since which tick each reason to hold has held without a break. */
  holdsSince: { shared_cause: number | null; excluded_runs: number | null; sample_ratio: number | null };
  /** What was decided, at most once for each consequence. */
  stops: StopVerdict[];
  /** Where it stood, short of a stop, at the last tick gone through; `null` before the first. */
  standing: StandingVerdict | null;
  /** In the order in which they first had a run. */
  runtimes: RuntimeState[];
}

export function newPrefix(guardrails: readonly CompiledGuardrail[]): LedgerPrefix {
  return {
    throughTick: -1,
    assigned: { candidate: 0, stable: 0 },
    guardrails: guardrails.map(newGuardrailState),
    peakLogE: START_LOG_E,
    tick: null,
    exposure: {
      exclusions: EXCLUSIONS.map(newRelative),
      excluded: { candidate: EXCLUSIONS.map(() => 0), stable: EXCLUSIONS.map(() => 0) },
      runs: { candidate: 0, stable: 0 },
      above: newLogS(),
      below: newLogS(),
      tested: 0,
    },
    holdsSince: { shared_cause: null, excluded_runs: null, sample_ratio: null },
    stops: [],
    standing: null,
    runtimes: [],
  };
}

/** A copy for replaying: shares the runtimes, which replaying does not change. */
export function cloneProgress(prefix: LedgerPrefix): LedgerPrefix {
  const { exposure } = prefix;
  return {
    ...prefix,
    assigned: { ...prefix.assigned },
    guardrails: prefix.guardrails.map((state) => ({
      ...state,
      ...cloneDetectors(state),
      stable: [...state.stable],
      totals: { candidate: { ...state.totals.candidate }, stable: { ...state.totals.stable } },
      start: state.start && cloneStart(state.start),
      spent: state.spent.map((each) => ({ ...each })),
    })),
    exposure: {
      exclusions: exposure.exclusions.map(cloneRelative),
      excluded: { candidate: [...exposure.excluded.candidate], stable: [...exposure.excluded.stable] },
      runs: { ...exposure.runs },
      above: [...exposure.above],
      below: [...exposure.below],
      tested: exposure.tested,
    },
    holdsSince: { ...prefix.holdsSince },
    stops: [...prefix.stops],
  };
}

export function clonePrefix(prefix: LedgerPrefix): LedgerPrefix {
  return { ...cloneProgress(prefix), runtimes: prefix.runtimes.map(cloneRuntimeState) };
}

export function cloneRuntimeState(state: RuntimeState): RuntimeState {
  return {
    ...state,
    bad: [...state.bad],
    others: state.others.map((detectors) => detectors && cloneDetectors(detectors)),
  };
}

export function cloneDetectors({ candidate, relative }: Detectors): Detectors {
  return { candidate: [...candidate], relative: relative && cloneRelative(relative) };
}

function newGuardrailState(guardrail: CompiledGuardrail): GuardrailState {
  const isTested = isStatistical(guardrail);
  return {
    candidate: isTested ? newLogS() : [],
    relative: isTested ? newRelative() : null,
    stable: isTested && guardrail.relative === undefined ? newLogS() : [],
    relativePeak: START_LOG_E,
    logE: isTested ? START_LOG_E : 0,
    totals: { candidate: { n: 0, bad: 0 }, stable: { n: 0, bad: 0 } },
    start: isTested ? newStart() : null,
    spent: [],
  };
}
