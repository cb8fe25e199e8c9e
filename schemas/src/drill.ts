/**
 * Drills: rollbacks that are rehearsed on a shadow of an alias, and the record that each leaves (DESIGN 1, 11).
 */
import * as z from "zod";
import { VersionKind } from "./documents.ts";
import { MAX_DRILL_STEPS } from "./limits.ts";
import { Policy } from "./policy.ts";
import { Digest, Name, Text, Timestamp, VersionId } from "./primitives.ts";

/**
 * Names that begin with it belong to drills: shadows of aliases, of their versions and of their kill switches. Only a drill
 * makes them, only its runtimes see them, and lists leave them out unless they are asked for.
 */
export const DRILL_PREFIX = "drill.";

export function isDrillName(name: string): boolean {
  return name.startsWith(DRILL_PREFIX);
}

/** What goes wrong with the candidate. `crash` is `errors` while a runtime is killed; `silence` is runs that never report. */
export const DrillFault = z.enum(["errors", "latency", "tool_failures", "silence", "crash"]);
export type DrillFault = z.infer<typeof DrillFault>;

/** What is looked at before anything is broken. */
export const DRILL_CHECKS = ["plan", "payloads", "authority"] as const;
/** What each fault is put through, in this order; a drill passes where all of it did. */
export const EXERCISE_STEPS = [
  "expose",
  "outcomes",
  "detect",
  "converge",
  "withdrawn",
  "stable_loads",
  "kill_switch",
  "operator",
  "lock",
  "alerts",
  "recover",
  "release",
  "in_time",
] as const;
export type ExerciseStep = (typeof EXERCISE_STEPS)[number];

export const DrillStep = z.strictObject({
  name: z.enum([...DRILL_CHECKS, ...EXERCISE_STEPS]),
  /** The fault it belongs to; absent for what is checked once. */
  fault: DrillFault.optional(),
  result: z.enum(["pass", "fail"]),
  /** Why, in a clause with the values. */
  why: Text,
  /** How long it took. */
  ms: z.number().min(0),
});
export type DrillStep = z.infer<typeof DrillStep>;

const Ms = z.number().min(0).nullable();

/** How long the phases of one rehearsed rollback took, in milliseconds; null for what was not measured. */
export const DrillTimes = z.strictObject({
  fault: DrillFault,
  /** From the injection of the fault until the rollback was known to whoever ran the drill. */
  noticedMs: Ms,
  /** As the incident has them. */
  detectMs: Ms,
  decideMs: Ms,
  commitMs: Ms,
  convergeMs: Ms,
  recoverMs: Ms,
  /** From the injection until every runtime had acknowledged the rollback: what the target is compared with. */
  rollbackMs: Ms,
});
export type DrillTimes = z.infer<typeof DrillTimes>;

/** `abandoned`: whoever ran it broke off, or was not heard of any more. It counts as failed. */
export const DrillState = z.enum(["running", "passed", "failed", "abandoned"]);
export type DrillState = z.infer<typeof DrillState>;

/** The record of one drill. */
export const Drill = z.strictObject({
  id: z.string().regex(/^drill_\d+$/),
  number: z.int().min(1),
  alias: Name,
  /** The alias that was broken in its place. */
  shadow: Name,
  /** Of the candidate; it decides the target time. */
  kind: VersionKind,
  /** The alias's own two versions. A drill of an alias with only one has a stand-in as its candidate. */
  candidate: VersionId,
  target: VersionId,
  candidateDigest: Digest,
  targetDigest: Digest,
  isStandIn: z.boolean(),
  faults: z.array(DrillFault).min(1),
  /** In what its policy differs from the alias's own, and what was not rehearsed, each in a sentence. */
  adjustments: z.array(z.string()),
  /** Within what a rollback of this kind must be done; null where it depends on the data. */
  targetMs: z.int().min(0).nullable(),
  state: DrillState,
  startedAt: Timestamp,
  startedBy: z.string(),
  endedAt: Timestamp.optional(),
  /** Why it was broken off. */
  because: Text.optional(),
  steps: z.array(DrillStep).max(MAX_DRILL_STEPS),
  times: z.array(DrillTimes),
  incidents: z.array(z.string()),
});
export type Drill = z.infer<typeof Drill>;

/** Begins a drill. `candidate` defaults as it does for a rollout. `all` is every fault that the policy has a guardrail for. */
export const StartDrillBody = z.strictObject({
  alias: Name,
  candidate: VersionId.optional(),
  faults: z.union([z.array(DrillFault).min(1).max(DrillFault.options.length), z.literal("all")]).default(["errors"]),
});
export type StartDrillBody = z.infer<typeof StartDrillBody>;

const ShadowVersion = z.strictObject({ id: VersionId, digest: Digest });

/** What whoever runs a drill needs. The tokens last as long as the drill. */
export const StartedDrill = z.object({
  drill: Drill,
  policy: Policy,
  candidate: ShadowVersion,
  target: ShadowVersion,
  /** The candidate's payload under another id, which the lock must refuse as well. */
  twin: VersionId,
  /** Kill switches that the rehearsed rollback engages. */
  switches: z.array(Name),
  /** The one that runtimes ask before a write. */
  writeSwitch: Name,
  leaseMs: z.number(),
  tokens: z.object({ runtime: z.string(), operator: z.string(), viewer: z.string() }),
});
export type StartedDrill = z.infer<typeof StartedDrill>;

/** Steps as they end. A drill that says nothing for long is abandoned. */
export const DrillStepsBody = z.strictObject({ steps: z.array(DrillStep).max(MAX_DRILL_STEPS) });
export type DrillStepsBody = z.infer<typeof DrillStepsBody>;

/** Ends a drill; with `because`, before its time. Whether it passed follows from its steps. */
export const FinishDrillBody = z.strictObject({
  times: z.array(DrillTimes).max(DrillFault.options.length).default([]),
  because: Text.optional(),
});
export type FinishDrillBody = z.infer<typeof FinishDrillBody>;

/** What became of an alert of the drill, webhook by webhook. */
export const AlertDelivery = z.object({
  webhook: z.string(),
  attempts: z.int(),
  deliveredAt: Timestamp.nullable(),
  error: z.string().nullable(),
});
export type AlertDelivery = z.infer<typeof AlertDelivery>;
