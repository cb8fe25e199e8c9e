export { hasDoubled } from "./asks-again.ts";
export type { Command, CommandOf, VersionDraft } from "./commands.ts";
export { configOf } from "./config-of.ts";
export { doctor } from "./doctor/doctor.ts";
export type { DoctorFacts, TrafficFact, WebhookFact } from "./doctor/facts.ts";
export { type DrillPass, drillFinding } from "./drill-requirement.ts";
export { hasExpiredFinishing } from "./finishing.ts";
export { type Gate, type GateCondition, type GateFacts, type GateStep, gateOf } from "./gate.ts";
export { incidentSnapshot } from "./incident-snapshot.ts";
export { isVerifying } from "./incidents.ts";
export {
  BRAINS_COMMANDS,
  type Conclusion,
  MACHINE,
  type MachineCell,
  type MachineCommand,
  type MachineState,
  PEOPLES_COMMANDS,
  VERIFICATION,
} from "./machine.ts";
export { possibilities, stateOf } from "./machine-state.ts";
export { type Ownership, targetOf, unnamed } from "./ownership.ts";
export { payloadProblems } from "./payload-schema.ts";
export { projected, runtimeDocuments, visibleChange } from "./projection.ts";
export { type RecoveryFacts, type RecoveryStep, recoveryStep } from "./recovery-step.ts";
export { incidentIdOf, stopDecisionId } from "./rollback.ts";
export { type CheckedAlias, type CheckedVersion, saysSomething, syntheticStop, withCheck } from "./synthetic.ts";
export { textDiff } from "./text-diff.ts";
export { transition } from "./transition.ts";
export { triggerNotFound } from "./triggers.ts";
export { canRollBack, isUnderWay } from "./under-way.ts";
export { versionDiff } from "./version-diff.ts";
export { type KindOfVersion, MECHANISMS, type RollbackMechanism, VERSION_KINDS } from "./version-kinds.ts";
export { versionDigest } from "./versions.ts";
export {
  type Alert,
  type AuditText,
  type Change,
  type Circumstances,
  type PayloadChecker,
  type Removed,
  type Stop,
  type StopFinding,
  type Transition,
  type World,
  worldAfter,
} from "./world.ts";
