export { drillPolicy } from "./drill-policy.ts";
export { firingFinding } from "./firing.ts";
export { type DrillReport, faultyRun, guardrailsThatSee, healthyRun } from "./play.ts";
export { hasPassed, passesOf } from "./result.ts";
export { aliasesUnderDrill, type DrillPair, drillPairOf, shadowOf, switchesOf, twinOf } from "./shadow.ts";
