export type { Command, CommandOf, VersionDraft } from "./commands.ts";
export { hasExpiredFinishing } from "./finishing.ts";
export { projected, runtimeDocuments, visibleChange } from "./projection.ts";
export { stopDecisionId } from "./rollback.ts";
export { transition } from "./transition.ts";
export { canRollBack, isUnderWay } from "./under-way.ts";
export { versionDigest } from "./versions.ts";
export {
  type Alert,
  type Change,
  type Circumstances,
  type StopFinding,
  type Transition,
  type World,
  worldAfter,
} from "./world.ts";
