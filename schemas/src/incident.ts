/**
 * A stop, what it was judged on, and the record of what became of it (DESIGN 7).
 */
import * as z from "zod";
import { MAX_INCIDENT_NOTES } from "./limits.ts";
import { GuardrailAction, GuardrailMode } from "./policy.ts";
import { Digest, Name, Revision, Text, Timestamp, VersionId } from "./primitives.ts";

/** How one guardrail stood when a decision was made. Natural logs; `threshold` is what the sum over guardrails must reach. */
export const GuardrailEvidence = z.strictObject({
  guardrail: z.string(),
  /** Judged outcomes plus pending ones, which count as good. */
  n: z.int().min(0),
  /** Sum of badness, 0 to n. */
  k: z.number().min(0),
  /** k / n, or 0. */
  rate: z.number().min(0),
  /** The rate that the guardrail allows. */
  p0: z.number().min(0).max(1),
  logE: z.number(),
  share: z.number().min(0).max(1),
  /** ln(C / alpha): the log e-value that the weighted sum needs. */
  threshold: z.number(),
  /** What is counted, such as `error_rate`; a `critical` event and a `budget` are no statistics, and their logE is 0. */
  kind: z.string().optional(),
  mode: GuardrailMode.optional(),
  action: GuardrailAction.optional(),
  /** In the metric's own unit: milliseconds, dollars, a quality. A budget's k is dollars spent, and its rate k / limit. */
  limit: z.number().optional(),
  /** The logE with which this guardrail alone would stop. */
  neededLogE: z.number().optional(),
  /** The tick in which the bad segment began, as estimated, and what was counted since. */
  startTick: z.int().min(0).optional(),
  since: z.strictObject({ n: z.int().min(0), k: z.number().min(0) }).optional(),
  /** Guardrails that compare with stable: the odds ratio allowed, and the rate up to which nothing stops. */
  maxOddsRatio: z.number().min(1).optional(),
  floor: z.number().min(0).max(1).optional(),
  /** Evidence that the candidate does worse than stable. */
  relativeLogE: z.number().optional(),
  /** Evidence that the guardrail is kept; ln 20 proves it. */
  healthLogE: z.number().optional(),
  /** The stable arm in the same ticks. */
  stable: z
    .strictObject({
      n: z.int().min(0),
      k: z.number().min(0),
      rate: z.number().min(0),
      logE: z.number().optional(),
      healthLogE: z.number(),
    })
    .optional(),
});
export type GuardrailEvidence = z.infer<typeof GuardrailEvidence>;

export const StopReason = z.enum(["rollback_required", "sla_breach", "error_spike", "manual"]);
export type StopReason = z.infer<typeof StopReason>;

export const Attribution = z.enum(["candidate", "shared", "undetermined"]);
export type Attribution = z.infer<typeof Attribution>;

/** A stop, with the exact input it was judged on. The id is SHA-256(alias, candidate digest, rolloutNumber, "stop"). */
export const Decision = z.strictObject({
  id: Digest,
  alias: Name,
  candidate: VersionId,
  candidateDigest: Digest,
  rolloutNumber: z.int().min(0),
  kind: z.literal("stop"),
  reason: StopReason,
  attribution: Attribution,
  at: Timestamp,
  evidence: z.array(GuardrailEvidence),
  /** Present where people were asked: how often, by the time that it was carried out. */
  askedRound: z.int().min(1).optional(),
  /** The judge's input as the core package serialises it; absent for a manual stop. */
  input: z.unknown().optional(),
});
export type Decision = z.infer<typeof Decision>;

/**
 * `open` until the recovery is proven (`recovered`), its window ends without proof (`unverified`), stable itself breaks a
 * guardrail or the candidate still serves (`not_recovered`), or a person releases what it engaged (`closed`).
 */
export const IncidentState = z.enum(["open", "recovered", "unverified", "not_recovered", "closed"]);
export type IncidentState = z.infer<typeof IncidentState>;

/** How one guardrail of the stable version stood when its recovery was last looked at. */
export const RecoveryEvidence = z.strictObject({
  guardrail: z.string(),
  /** Runs that say something about it, begun under the rollback's revision, none of them pending. */
  n: z.int().min(0),
  k: z.number().min(0),
  /** Log of the reverse e-value; ln 20 proves the guardrail kept. Null for one that is no statistic. */
  logE: z.number().nullable(),
  isHealthy: z.boolean(),
});
export type RecoveryEvidence = z.infer<typeof RecoveryEvidence>;

/** One rollback of several aliases in one transaction: an incident for each, with this id in common. */
export const Coordination = z.strictObject({
  id: z.string(),
  /** All incidents that it opened, this one among them. */
  incidents: z.array(z.string()),
});
export type Coordination = z.infer<typeof Coordination>;

/** What speaks for stable since the rollback. */
export const Recovery = z.strictObject({
  /** Runs of stable that began under the rollback's revision and have ended, or should have. */
  runs: z.int().min(0),
  guardrails: z.array(RecoveryEvidence),
});
export type Recovery = z.infer<typeof Recovery>;

/** The record of one rollback. */
export const Incident = z.strictObject({
  id: z.string(),
  alias: Name,
  candidate: VersionId,
  target: VersionId,
  rolloutNumber: z.int().min(0),
  stage: Name,
  reason: StopReason,
  /** Whose fault the brain found it; absent where a person or a trigger rolled back. */
  attribution: Attribution.optional(),
  decisionId: Digest,
  state: IncidentState,
  openedAt: Timestamp,
  revision: Revision,
  evidence: z.array(GuardrailEvidence),
  /** What happened to it, oldest first, in sentences for people. */
  timeline: z.array(z.strictObject({ at: Timestamp, by: z.string(), text: z.string() })),
  notes: z.array(z.strictObject({ at: Timestamp, by: z.string(), text: Text })).max(MAX_INCIDENT_NOTES),
  /** Who approved it, where people were asked; the brain at the deadline. */
  approval: z.strictObject({ by: z.string(), askedAt: Timestamp, isDeadline: z.boolean() }).optional(),
  /** What a person found the cause to be. Without it the candidate stays locked. */
  rootCause: z.strictObject({ at: Timestamp, by: z.string(), text: Text }).optional(),
  /** From the commit until every runtime had acknowledged it or its lease was over. */
  convergeMs: z.number().min(0).optional(),
  /** From the commit until the recovery was proven. */
  recoverMs: z.number().min(0).optional(),
  /** When the state last changed from what it was opened in. */
  settledAt: Timestamp.optional(),
  /** What the state was concluded from. */
  recovery: Recovery.optional(),
  /** Present where several aliases were rolled back together. */
  coordinated: Coordination.optional(),
});
export type Incident = z.infer<typeof Incident>;
