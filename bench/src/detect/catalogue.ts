/** Every experiment of the bench, by id. Workers look theirs up here; buffers are made when one is first asked for. */
import type { Experiment } from "./experiment.ts";
import {
  duplicateExperiment,
  QUALITY_MEANS,
  qualityExperiment,
  RECOVERY_RATES,
  recoveryExperiment,
  TICK_CASES,
  TOOL_CASES,
  tickSizeExperiment,
  toolFailureExperiment,
} from "./hazards.ts";
import { leaveOneOutExperiment, SPREAD_RATES } from "./leave-one-out.ts";
import { DELAY_RATES, informativeDelayExperiment, ledgerExperiment } from "./ledger-hazards.ts";
import {
  deepExperiment,
  delayExperiment,
  FAMILY_PARTS,
  familyExperiment,
  HEALTHY_RATES,
  healthyExperiment,
  MID_OUTCOMES,
  PRE_RATES,
  stageStartExperiment,
} from "./rates.ts";
import { relativeExperiment, SCENARIOS, WEIGHTS } from "./relative.ts";
import { retuneExperiment } from "./retune.ts";

/** In the order in which they are run: the longest first, so that workers end together. */
export function makeExperiments(): Experiment[] {
  return [
    ...HEALTHY_RATES.map(healthyExperiment),
    deepExperiment(),
    ...SCENARIOS.flatMap((scenario) => WEIGHTS.map((weight) => relativeExperiment(scenario, weight))),
    ...FAMILY_PARTS.map(familyExperiment),
    ...PRE_RATES.map((pre) => delayExperiment(pre, MID_OUTCOMES)),
    delayExperiment(PRE_RATES[0], 0),
    stageStartExperiment(),
    retuneExperiment(),
    ...DELAY_RATES.map(informativeDelayExperiment),
    ...TOOL_CASES.map(toolFailureExperiment),
    ...QUALITY_MEANS.map(qualityExperiment),
    ...SPREAD_RATES.map(leaveOneOutExperiment),
    duplicateExperiment(),
    ...TICK_CASES.map(tickSizeExperiment),
    ledgerExperiment(),
    ...RECOVERY_RATES.map(recoveryExperiment),
  ];
}
