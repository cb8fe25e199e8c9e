/**
 * What a runtime sees of the documents: the projection that snapshots and deltas carry.
 */
import * as z from "zod";
import { Allocation, FailSafe, FlagDefinition } from "./documents.ts";
import { Revoke } from "./policy.ts";
import { Digest, Json, Name, Revision, Scope, VersionId } from "./primitives.ts";

/** An alias as a runtime sees it: enough to serve a version, and nothing that it must not serve. */
export const RuntimeAlias = z.object({
  kind: z.literal("alias"),
  key: Name,
  revision: Revision,
  salt: z.string(),
  allocation: Allocation,
  stable: VersionId.nullable(),
  /** Payload of every version that may be served: those with weight, stable, and those of `finishing`. */
  versions: z.record(VersionId, z.object({ payload: Json, digest: Digest })),
  /** The rollout under way, if any. */
  rollout: z.object({ rolloutNumber: z.int(), candidate: VersionId, stage: Name }).nullable(),
  /** Version ids that were rolled back and what their runs in flight should do. */
  revoked: z.record(VersionId, Revoke),
  outcomeTimeoutMs: z.int().min(1),
  /** Limits of the latency guardrails, ascending: a run still open past one is reported at once, so that a hang is judged. */
  latencyLimitsMs: z.array(z.number()).optional(),
  onLeaseLapse: z.enum(["stable", "last"]),
  /** Present where a conversation keeps its version from run to run. */
  stickiness: z.literal("conversation").optional(),
  /** Versions without weight that only conversations which have them already may be served. */
  finishing: z.array(VersionId).optional(),
});
export type RuntimeAlias = z.infer<typeof RuntimeAlias>;

export const RuntimeKillSwitch = z.object({
  kind: z.literal("killSwitch"),
  key: Name,
  revision: Revision,
  engaged: z.array(z.object({ id: z.string(), scope: Scope, reason: z.string() })),
  failSafe: FailSafe,
});
export type RuntimeKillSwitch = z.infer<typeof RuntimeKillSwitch>;

export const RuntimeFlag = z.object({
  kind: z.literal("flag"),
  key: Name,
  revision: Revision,
  definition: FlagDefinition,
});
export type RuntimeFlag = z.infer<typeof RuntimeFlag>;

export const RuntimeDocument = z.discriminatedUnion("kind", [RuntimeAlias, RuntimeKillSwitch, RuntimeFlag]);
export type RuntimeDocument = z.infer<typeof RuntimeDocument>;

/** Names one document. Keys are unique across kinds, because each is an OpenFeature flag key. */
export const DocumentRef = z.object({ kind: z.enum(["alias", "killSwitch", "flag"]), key: Name });
export type DocumentRef = z.infer<typeof DocumentRef>;
