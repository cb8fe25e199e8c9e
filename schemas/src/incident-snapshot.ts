/**
 * What is kept of the moment of a rollback, so that its report needs nothing else.
 */
import * as z from "zod";
import { VersionKind } from "./documents.ts";
import { Policy } from "./policy.ts";
import { Digest, Name, Timestamp, VersionId } from "./primitives.ts";

const Count = z.int().min(0);

const SnapshotVersion = z.strictObject({
  id: VersionId,
  kind: VersionKind,
  digest: Digest,
  labels: z.record(z.string(), z.string()),
  notes: z.string(),
  createdAt: Timestamp,
  createdBy: z.string(),
});

/** One difference of two payloads. `path` is a JSON Pointer (RFC 6901); a side that is left out has nothing there. */
export const PayloadChange = z.strictObject({
  path: z.string(),
  from: z.unknown().optional(),
  to: z.unknown().optional(),
});
export type PayloadChange = z.infer<typeof PayloadChange>;

/** Runs by what they have in common, the most first. */
const Tally = z.array(z.strictObject({ name: z.string(), n: Count }));

/** What the ledger and the server's memory held of a rollout. */
export const Observed = z.strictObject({
  /** Candidate first, since the rollout began. */
  traffic: z.array(
    z.strictObject({ version: VersionId, assigned: Count, settled: Count, missing: Count, failures: Count }),
  ),
  /** Runs assigned while each stage lasted. An earlier one than the server's start has no name. */
  stages: z.array(z.strictObject({ stage: Name.nullable(), candidate: Count, stable: Count })),
  /** The candidate's runs by runtime, and how many of them each guardrail found bad. */
  runtimes: z.array(z.strictObject({ runtime: z.string(), runs: Count, bad: z.record(z.string(), z.number()) })),
  /** The candidate's failures since the server's start: by origin and type, and by the `tool` attribute where there is one. */
  errors: Tally,
  tools: Tally,
  /** The candidate's last outcomes since the server's start, oldest first. */
  lastOutcomes: z.array(z.unknown()),
});
export type Observed = z.infer<typeof Observed>;

export const IncidentSnapshot = z.strictObject({
  candidate: SnapshotVersion,
  target: SnapshotVersion,
  /** From the target's payload to the candidate's. Long texts are cut. */
  payloadDiff: z.array(PayloadChange),
  rolloutStartedAt: Timestamp,
  stageStartedAt: Timestamp,
  policy: Policy,
  policyHash: Digest,
  observed: Observed,
});
export type IncidentSnapshot = z.infer<typeof IncidentSnapshot>;
