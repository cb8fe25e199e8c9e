/**
 * What the brain concludes.
 */
import type { Attribution, GuardrailAction, GuardrailEvidence, GuardrailMode, StopReason } from "@flagback/schemas";
import type { Exclusion } from "./badness.ts";

/** A runtime that carries more than a fifth of the bad counts, and the evidence of all the others alone. */
export interface Carrier {
  /** Its name, or `#0` to `#15`: runtimes beyond the limit, together. */
  readonly runtime: string;
  /** Its part of the candidate's bad counts under the leading guardrail. */
  readonly share: number;
  readonly logEWithout: number;
}

/** Whether more of the candidate's runs than of stable's end in a class that says nothing about the version. */
export interface ExclusionEvidence {
  readonly exclusion: Exclusion;
  readonly logE: number;
  /** Parts of the runs of each arm; pending ones are in no class. */
  readonly candidateRate: number;
  readonly stableRate: number;
}

/** Whether the candidate gets the share of assignments that its weight says, as of the last tick that was tested. */
export interface ExposureEvidence {
  /** Log of the mean of the two e-values below. */
  readonly logE: number;
  readonly logETooMany: number;
  readonly logETooFew: number;
  /** ln(1 / 0.001). */
  readonly neededLogE: number;
}

export interface Judgement {
  readonly alpha: number;
  /** Log of the weighted sum of e-values, at the deciding tick or the last one; of the consequence that it is highest in. */
  readonly logE: number;
  /** The highest it ever was. */
  readonly peakLogE: number;
  /** ln(C / alpha): the log e-value that the weighted sum needs. */
  readonly threshold: number;
  /** The deciding tick, or the last one with counts; `null` where there is none. */
  readonly tick: number | null;
  /** How each guardrail stood at that tick. */
  readonly guardrails: readonly GuardrailEvidence[];
  /** Name of the guardrail that weighs most, or that decided by itself. Empty where none can decide. */
  readonly leading: string;
  /** The leading guardrail's: what the server does about a stop. */
  readonly mode: GuardrailMode;
  readonly action: GuardrailAction;
  /** Filled where the evidence reached its threshold, heaviest first. */
  readonly carriers: readonly Carrier[];
  readonly exclusions: readonly ExclusionEvidence[];
  readonly exposure: ExposureEvidence;
}

export interface AllowVerdict extends Judgement {
  readonly kind: "allow";
  /** The evidence sufficed, but without this runtime too little of it is left, so one runtime alone would decide. */
  readonly heldBackBy?: string;
}

/** One for each consequence at most, and it stays: what comes later no longer changes it. */
export interface StopVerdict extends Judgement {
  readonly kind: "stop";
  readonly reason: StopReason;
  readonly attribution: Attribution;
}

export type HoldReason = "shared_cause" | "excluded_runs" | "sample_ratio";

/** The rollout should not go on and must not be rolled back for it. It lasts while its evidence does. */
export interface HoldVerdict extends Judgement {
  readonly kind: "hold";
  readonly reason: HoldReason;
  /** `shared` for a shared cause. */
  readonly attribution?: Attribution;
  /** The first tick since which the reason holds without a break. */
  readonly sinceTick: number;
}

export type StandingVerdict = AllowVerdict | HoldVerdict;

export type Verdict = StandingVerdict | StopVerdict;
