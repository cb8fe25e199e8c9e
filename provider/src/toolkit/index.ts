/** What an agent's code uses beside OpenFeature. */
export { guardTools } from "./guard-tools.ts";
export { WRITE_DENIED } from "./guarded-call.ts";
export type { Pin } from "./pins.ts";
export { type LaterReport, reportLater } from "./report-later.ts";
export type { Run, RunReport } from "./run.ts";
export { currentRun, type RunOptions, withRun } from "./with-run.ts";
export { type CallGuardOptions, type GuardOptions, readsOf, type WriteTest } from "./write-rule.ts";
