/**
 * What a rollback means for each kind of version: flagback flips which version agents resolve, and for some kinds that is the
 * whole rollback, for others only its beginning.
 */
import type { VersionKind } from "@flagback/schemas";

/** How a kind of version is rolled back. */
export type RollbackMechanism = "flip" | "redeploy" | "rebaseline" | "rebuild";

export interface KindOfVersion {
  readonly mechanism: RollbackMechanism;
  /** From the decision to restored traffic, at most, in milliseconds; null where it depends on the data. */
  readonly targetMs: number | null;
  /** The target as people say it. */
  readonly target: string;
  /** What the flip does not do, in a sentence; absent where the flip is all. */
  readonly beyondTheFlip?: string;
}

const MINUTE_MS = 60_000;

/**
 * The targets of prompt, model, agent, eval and data are those of the practice "rollback discipline": prompts within 5 minutes,
 * models within 10, agent code within what a redeployment takes (10 to 30), evaluators in minutes, data as long as its indexes
 * take. Tool and routing policies reach agents as prompts do, so they have the prompt's target; for an evaluator's "minutes"
 * the model's is taken.
 */
export const VERSION_KINDS: Readonly<Record<VersionKind, KindOfVersion>> = {
  prompt: { mechanism: "flip", targetMs: 5 * MINUTE_MS, target: "5 minutes" },
  model: { mechanism: "flip", targetMs: 10 * MINUTE_MS, target: "10 minutes" },
  tools: { mechanism: "flip", targetMs: 5 * MINUTE_MS, target: "5 minutes" },
  policy: { mechanism: "flip", targetMs: 5 * MINUTE_MS, target: "5 minutes" },
  agent: {
    mechanism: "redeploy",
    targetMs: 30 * MINUTE_MS,
    target: "10 to 30 minutes",
    beyondTheFlip:
      "Where the previous code no longer runs beside the new one, it has to be redeployed before the flip means anything.",
  },
  eval: {
    mechanism: "rebaseline",
    targetMs: 10 * MINUTE_MS,
    target: "minutes",
    beyondTheFlip:
      "Scores given by the new evaluator don't compare with the old one's: the baseline has to be measured anew.",
  },
  data: {
    mechanism: "rebuild",
    targetMs: null,
    target: "as long as its indexes take, which may be hours",
    beyondTheFlip:
      "What was written or indexed meanwhile stays until the previous data is restored and its indexes are rebuilt.",
  },
};

/** A mechanism as a clause about what brings a version back. */
export const MECHANISMS: Readonly<Record<RollbackMechanism, string>> = {
  flip: "flagback flips the version that agents resolve, and that is all",
  redeploy: "flagback flips the version that agents resolve; its code has to run somewhere",
  rebaseline: "flagback flips the version that agents resolve; the baseline has to be measured anew",
  rebuild: "flagback flips the version that agents resolve; data and indexes have to be restored",
};
