/**
 * The append-only record of who did what.
 */
import * as z from "zod";
import { Actor } from "./access.ts";
import { GuardrailEvidence } from "./incident.ts";
import { Digest, Name, Revision, Timestamp, VersionId } from "./primitives.ts";

/** One row of the append-only audit log. */
export const AuditEvent = z.strictObject({
  id: z.int().min(1),
  timestamp: Timestamp,
  actor: Actor,
  /** Such as `rollout.start`, `rollback`, `kill_switch.engage`, `verdict`. */
  action: z.string(),
  /** Such as `alias:support-agent` or `kill_switch:writes_disabled`. */
  target: z.string(),
  decision: z.enum(["allow", "stop"]).optional(),
  /** The version that a decision is about. In answers only: it is `toVersion` of an `allow`, `fromVersion` of a `stop`. */
  version: VersionId.optional(),
  reason: z.string().optional(),
  fromVersion: VersionId.optional(),
  toVersion: VersionId.optional(),
  stage: Name.optional(),
  /** `pending`, then `applied a/m, lapsed x` as runtimes acknowledge. */
  switchStatus: z.string().optional(),
  evidence: z.array(GuardrailEvidence).optional(),
  lastRunIds: z.array(z.string()).optional(),
  decisionId: Digest.optional(),
  configHash: Digest.optional(),
  incident: z.string().optional(),
  /** What the rows of one coordinated rollback have in common. */
  coordinationId: z.string().optional(),
  /** Present where runtimes see the change. */
  revision: Revision.optional(),
  /** One sentence for people. */
  summary: z.string(),
});
export type AuditEvent = z.infer<typeof AuditEvent>;
