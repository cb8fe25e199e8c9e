export { badnessOf, countsAgainstVersion, EXCLUSIONS, type Exclusion, exclusionOf, isHit } from "./badness.ts";
export type { CompiledGuardrail, GuardrailKind, RelativeTest } from "./compiled.ts";
export { isRollback } from "./consequence.ts";
export { ARMS, type Arm, type Counts, type GuardrailCounts, pendingOf, type RuntimeCounts } from "./counts.ts";
export {
  addStageLump,
  type Bins,
  type Detector,
  logThreshold,
  MILLIONTHS,
  newDetector,
  spendingSchedule,
  stepDetector,
  stepDetectorByFractions,
} from "./detector.ts";
export { explain } from "./explain.ts";
export { type CompiledGuardrails, compileGuardrails, latencyLimitsOf } from "./guardrails.ts";
export { healthOf, isHealthy } from "./health.ts";
export { freezeThrough, type Judged, judge, judgeInFull } from "./judge.ts";
export { MAX_RUNTIMES, SHARED_BUCKETS } from "./leave-one-out.ts";
export {
  addCounts,
  assignIn,
  beginStage,
  beginTick,
  type Cell,
  type CountsRow,
  changeThresholds,
  cloneLedger,
  type ExpectedShare,
  endOverdue,
  expectShare,
  type Ledger,
  newLedger,
  openCell,
  recordAssigned,
  recordLost,
  recordMissing,
  recordOutcome,
  recordOverdue,
  rowsOf,
  settleExcluded,
  settleIn,
} from "./ledger.ts";
export type { ArmCounts, TickCounts } from "./ledger-ticks.ts";
export type { LedgerPrefix, RuntimeState } from "./prefix.ts";
export { HEALTHY_LOG_E, isProvenHealthy, reverseLogE } from "./recovery.ts";
export { asRecoveryOutcome } from "./recovery-outcome.ts";
export { type RecoveryStanding, recoveryStanding } from "./recovery-standing.ts";
export { newRelative, type RelativeState, relativeLogE, stepRelative, type TwoArms } from "./relative.ts";
export { runsToStop } from "./runs-to-stop.ts";
export { guardrailsAt, guardrailsInForce, type StageThresholds } from "./stage-thresholds.ts";
export type {
  AllowVerdict,
  Carrier,
  ExclusionEvidence,
  ExposureEvidence,
  HoldReason,
  HoldVerdict,
  Judgement,
  StandingVerdict,
  StopVerdict,
  Verdict,
} from "./verdict.ts";
