export { badnessOf, countsAgainstVersion } from "./badness.ts";
export {
  addStageLump,
  type Bins,
  type Detector,
  logThreshold,
  newDetector,
  spendingSchedule,
  stepDetector,
  stepDetectorByFractions,
} from "./detector.ts";
export {
  type CompiledGuardrail,
  type CompiledGuardrails,
  compileGuardrails,
  type GuardrailKind,
} from "./guardrails.ts";
export { freezeThrough, judge, type Verdict } from "./judge.ts";
export {
  addCounts,
  beginStage,
  cloneLedger,
  type GuardrailCounts,
  type Ledger,
  type LedgerPrefix,
  newLedger,
  pendingOf,
  recordAssigned,
  recordLost,
  recordMissing,
  recordOutcome,
  settleExcluded,
  type TickCounts,
} from "./ledger.ts";
export { HEALTHY_LOG_E, isProvenHealthy, reverseLogE } from "./recovery.ts";
