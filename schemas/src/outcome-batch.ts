/**
 * What a runtime reports on its stream: runs handed to a version, runs that take long, and how runs went (DESIGN 5).
 */
import * as z from "zod";
import { MAX_BATCH_ASSIGNMENTS, MAX_BATCH_ITEMS, MAX_GROUP_RUNS, MAX_GUARDRAILS } from "./limits.ts";
import { Outcome } from "./outcome.ts";
import { Name, Revision, VersionId } from "./primitives.ts";

const Seq = z.int().min(1);

/** Runs that the runtime handed to a version since its last batch. */
export const Assignment = z.object({
  alias: Name,
  version: VersionId,
  revision: Revision,
  n: z.int().min(1).max(MAX_GROUP_RUNS),
});
export type Assignment = z.infer<typeof Assignment>;

/**
 * One outcome of the stream. `assignedSeq` is the batch in which its assignment was announced. A newer runtime may send
 * fields that this version drops; a rejected outcome would count as missing, which is bad.
 */
export const StreamOutcome = Outcome.safeExtend({
  assignedSeq: Seq,
  /** Latency limits that the run was reported overdue for before it ended. */
  overdueLimitsMs: z.array(z.number()).max(MAX_GUARDRAILS).optional(),
  /** What has a source is no run of real traffic, and must not pass for one. */
  source: z.never().optional(),
}).strip();
export type StreamOutcome = z.infer<typeof StreamOutcome>;

/** A run that is still open past a latency guardrail's limit: it exceeds it, however it ends. */
export const Overdue = z.object({
  assignedSeq: Seq,
  alias: Name,
  version: VersionId,
  limitMs: z.number().positive(),
  n: z.int().min(1).max(MAX_GROUP_RUNS),
});
export type Overdue = z.infer<typeof Overdue>;

/** A batch. `seq` is the last counted batch's + 1. Items are checked one by one: a bad one is rejected by its index. */
export const OutcomeBatch = z.object({
  type: z.literal("outcomes"),
  seq: Seq,
  assigned: z.array(Assignment).max(MAX_BATCH_ASSIGNMENTS),
  overdue: z.array(Overdue).max(MAX_BATCH_ASSIGNMENTS).optional(),
  items: z.array(z.unknown()).max(MAX_BATCH_ITEMS),
});
export type OutcomeBatch = z.infer<typeof OutcomeBatch>;
