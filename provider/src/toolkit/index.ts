/** What an agent's code uses beside OpenFeature. */
export { type GuardOptions, guardTools, WRITE_DENIED } from "./guard-tools.ts";
export type { Pin, Run, RunReport } from "./run.ts";
export { currentRun, type RunOptions, withRun } from "./with-run.ts";
