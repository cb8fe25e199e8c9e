/**
 * A decision that the brain leaves to people: a guardrail of mode `approval` was breached (DESIGN 7).
 */
import * as z from "zod";
import { Attribution, GuardrailEvidence, StopReason } from "./incident.ts";
import { AtDeadline } from "./policy.ts";
import { Digest, Name, Text, Timestamp, VersionId } from "./primitives.ts";

/**
 * `open` until a person approves or rejects it, its deadline comes (`expired`), or something else settled the matter first
 * (`superseded`): a rollback by a guardrail that asks nobody, or a person who rolled back, paused or resumed.
 */
export const AskedDecisionState = z.enum(["open", "approved", "rejected", "expired", "superseded"]);
export type AskedDecisionState = z.infer<typeof AskedDecisionState>;

/** One for each rollout at most; asked again, it is open again. */
export const AskedDecision = z.strictObject({
  /** The id of the stop that it asks for, so that the two can never be carried out one after the other. */
  id: Digest,
  alias: Name,
  candidate: VersionId,
  /** The version that an approval returns to. */
  target: VersionId,
  rolloutNumber: z.int().min(1),
  stage: Name,
  /** How often it was asked. */
  round: z.int().min(1),
  state: AskedDecisionState,
  reason: StopReason,
  attribution: Attribution,
  /** The guardrail that asks. */
  leading: z.string(),
  /** What happened, in sentences for people. */
  summary: Text,
  /** As it stood when it was asked. */
  evidence: z.array(GuardrailEvidence),
  lastRunIds: z.array(z.string()),
  /** The judge's input, while it is open; a rollback keeps it with its decision. */
  input: z.unknown().optional(),
  openedAt: Timestamp,
  deadline: Timestamp,
  atDeadline: AtDeadline,
  /** Kill switches that are engaged while it waits. */
  engaged: z.array(Name),
  /** How it ended. */
  closed: z.strictObject({ at: Timestamp, by: z.string(), because: z.string() }).optional(),
  /** The incident of the rollback that ended it. */
  incident: z.string().optional(),
});
export type AskedDecision = z.infer<typeof AskedDecision>;
