/**
 * Bodies of the HTTP API (DESIGN 11).
 */
import * as z from "zod";
import { Role } from "./access.ts";
import { Allocation, FlagDefinition, ReleaseVersions, VersionKind } from "./documents.ts";
import type { FlagbackError } from "./errors.ts";
import {
  MAX_BATCH_ITEMS,
  MAX_CONFIG_FILES,
  MAX_RELEASE_ALIASES,
  MAX_TEXT_LENGTH,
  MAX_TOKEN_ALIASES,
} from "./limits.ts";
import { PayloadSchema } from "./payload-schema.ts";
import { Percent, Policy } from "./policy.ts";
import { Digest, Name, Payload, Reason, Revision, Scope, Text, Timestamp, VersionId } from "./primitives.ts";
import { Propagation } from "./runtime.ts";
import { WebhookFormat } from "./webhook.ts";

/** Registers a version. `alias` defaults to the part of the id before `@`. */
export const RegisterVersionBody = z.strictObject({
  id: VersionId,
  alias: Name.optional(),
  kind: VersionKind.default("agent"),
  payload: Payload.default({}),
  labels: z.record(z.string().max(64), z.string().max(256)).default({}),
  notes: Text.default(""),
});
export type RegisterVersionBody = z.infer<typeof RegisterVersionBody>;

/** Creates an alias or changes its settings; parts that are left out stay as they are. */
export const PutAliasBody = z.strictObject({
  salt: z.string().min(1).max(128).optional(),
  policy: Policy.nullable().optional(),
  /** Null takes it away. */
  payloadSchema: PayloadSchema.nullable().optional(),
  /** Whole allocation, weights summing to 100 000. Only without a rollout under way. */
  allocation: Allocation.optional(),
});
export type PutAliasBody = z.infer<typeof PutAliasBody>;

export const DeclareStableBody = z.strictObject({ version: VersionId, reason: Reason });
export type DeclareStableBody = z.infer<typeof DeclareStableBody>;

/** Starts a rollout. `candidate` may be left out where the alias has exactly one. */
export const StartRolloutBody = z.strictObject({
  candidate: VersionId.optional(),
  /** Start at this stage instead of the first; the stages skipped are named in the audit row. */
  stage: Name.optional(),
  reason: Text.default(""),
  /** Start although the drill is missing that the policy demands; needs a reason, which is recorded. */
  bypassGate: z.boolean().default(false),
});
export type StartRolloutBody = z.infer<typeof StartRolloutBody>;

/** Moves a rollout to its next stage. */
export const AdvanceBody = z.strictObject({
  reason: Reason,
  /** Advance although the gate is closed; what it said is recorded. */
  bypassGate: z.boolean().default(false),
  /** The stage that the rollout was seen at. Where it has gone on since, the request changes nothing. */
  fromStage: Name.optional(),
});
export type AdvanceBody = z.infer<typeof AdvanceBody>;

/** Starts a rollout of a fix on the policy's fast track, past an open incident and a missing drill. */
export const RollForwardBody = z.strictObject({
  version: VersionId,
  /** Begin with this much of the traffic, and go on with what of the fast track lies above. */
  percent: Percent.optional(),
  reason: Reason,
});
export type RollForwardBody = z.infer<typeof RollForwardBody>;

export const LockBody = z.strictObject({ version: VersionId, reason: Reason });
export type LockBody = z.infer<typeof LockBody>;

export const ReasonBody = z.strictObject({ reason: Reason });
export type ReasonBody = z.infer<typeof ReasonBody>;

/** Unlocks by version id or by digest. `rootCause` notes on the incident what went wrong, where nobody has yet. */
export const UnlockBody = z
  .strictObject({
    version: VersionId.optional(),
    digest: Digest.optional(),
    reason: Reason,
    rootCause: Reason.optional(),
  })
  .refine((body) => (body.version === undefined) !== (body.digest === undefined), "give version or digest, not both");
export type UnlockBody = z.infer<typeof UnlockBody>;

/** A note on an incident; one that says the root cause opens the way to unlocking. */
export const IncidentNoteBody = z.strictObject({ text: Reason, isRootCause: z.boolean().default(false) });
export type IncidentNoteBody = z.infer<typeof IncidentNoteBody>;

export const EngageBody = z.strictObject({
  scope: Scope.default("*"),
  reason: Reason,
  /** The server releases the entry at this moment. */
  until: Timestamp.optional(),
});
export type EngageBody = z.infer<typeof EngageBody>;

export const ReleaseBody = z.strictObject({ scope: Scope.default("*"), reason: Reason });
export type ReleaseBody = z.infer<typeof ReleaseBody>;

export const PutKillSwitchBody = z.strictObject({
  failSafe: z
    .strictObject({ engage: z.boolean(), afterMs: z.int().min(0).max(86_400_000).default(0) })
    .default({ engage: true, afterMs: 0 }),
});
export type PutKillSwitchBody = z.infer<typeof PutKillSwitchBody>;

export const PutFlagBody = FlagDefinition;

export const CreateTokenBody = z
  .strictObject({
    role: Role,
    name: z.string().min(1).max(128),
    /** Runtime tokens only: the aliases it may see. Empty: all. */
    aliases: z.array(Name).max(MAX_TOKEN_ALIASES).default([]),
    /** Trigger tokens only: the trigger that it fires. */
    trigger: Name.optional(),
  })
  .refine(({ role, trigger }) => (role === "trigger") === (trigger !== undefined), {
    path: ["trigger"],
    message: "a token of role trigger names its one trigger, and no other token does",
  })
  .refine(({ role, aliases }) => role === "runtime" || aliases.length === 0, {
    path: ["aliases"],
    message: "only a runtime token can be scoped to aliases; other roles would see everything all the same",
  });
export type CreateTokenBody = z.infer<typeof CreateTokenBody>;

export const CreateWebhookBody = z
  .strictObject({
    /** What it is called by; made up where it is left out. */
    name: Name.optional(),
    /** May be left out for PagerDuty. */
    url: z.url({ protocol: /^https?$/ }).optional(),
    format: WebhookFormat.default("standard"),
    /** PagerDuty's integration key for the Events API v2. */
    routingKey: z
      .string()
      .regex(/^[A-Za-z0-9]{32}$/, "an integration key has 32 letters and digits")
      .optional(),
  })
  .superRefine(({ url, format, routingKey }, context) => {
    const problem = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (url === undefined && format !== "pagerduty") problem("url", `a webhook of format ${format} needs one`);
    if (format === "pagerduty" && routingKey === undefined) problem("routingKey", "PagerDuty needs one");
    if (format !== "pagerduty" && routingKey !== undefined) problem("routingKey", "only PagerDuty takes one");
  });
export type CreateWebhookBody = z.infer<typeof CreateWebhookBody>;

/** Rolls back several aliases, or all of a release, in one transaction. */
export const RollbacksBody = z
  .strictObject({
    aliases: z.array(Name).min(1).max(MAX_RELEASE_ALIASES).optional(),
    release: Name.optional(),
    reason: Reason,
  })
  .refine((body) => (body.aliases === undefined) !== (body.release === undefined), "give aliases or release, not both");
export type RollbacksBody = z.infer<typeof RollbacksBody>;

export const PutReleaseBody = z.strictObject({ versions: ReleaseVersions, notes: Text.default("") });
export type PutReleaseBody = z.infer<typeof PutReleaseBody>;

/** What a coordinated rollback did, alias by alias. `not_served`: the release's version served nothing there. */
export const CoordinatedRollback = z.object({
  id: z.string(),
  aliases: z.array(
    z.object({
      alias: z.string(),
      status: z.enum(["done", "already_rolled_back", "not_served"]),
      decisionId: Digest.optional(),
      incident: z.string().optional(),
    }),
  ),
});
export type CoordinatedRollback = z.infer<typeof CoordinatedRollback>;

export const OutcomesBody = z.strictObject({ outcomes: z.array(z.unknown()).min(1).max(MAX_BATCH_ITEMS) });
export const OutcomesAnswer = z.object({
  accepted: z.int(),
  duplicates: z.int(),
  rejected: z.array(z.object({ index: z.int(), code: z.string(), message: z.string() })),
});
export type OutcomesAnswer = z.infer<typeof OutcomesAnswer>;

/** Items are checked one by one. Answered as outcomes are. */
export const FeedbackBody = z.strictObject({ feedback: z.array(z.unknown()).min(1).max(MAX_BATCH_ITEMS) });

/** What a change answers. `unchanged` and `already_rolled_back` changed nothing. */
export const ChangeAnswer = z.object({
  revision: Revision,
  change: z.object({
    status: z.enum(["done", "unchanged", "already_rolled_back"]),
    action: z.string(),
    summary: z.string(),
    auditId: z.int().optional(),
    decisionId: Digest.optional(),
    incident: z.string().optional(),
    coordinated: CoordinatedRollback.optional(),
  }),
  propagation: Propagation.optional(),
});
export type ChangeAnswer = z.infer<typeof ChangeAnswer>;

/** A configuration of several files, so that a problem can be told with its file, line and column. */
export const ApplyFilesBody = z.strictObject({
  files: z
    .array(z.strictObject({ name: z.string().min(1).max(MAX_TEXT_LENGTH), text: z.string() }))
    .min(1)
    .max(MAX_CONFIG_FILES),
});
export type ApplyFilesBody = z.infer<typeof ApplyFilesBody>;

/** One step of an apply's plan. `note` says what a reader might not expect. */
export const PlanStep = z.object({
  action: z.enum(["register", "create", "update", "declare_stable", "retire", "delete", "unchanged"]),
  target: z.string(),
  changes: z.array(z.object({ path: z.string(), from: z.unknown(), to: z.unknown() })),
  note: z.string().optional(),
});
export type PlanStep = z.infer<typeof PlanStep>;

export const ApplyAnswer = z.object({
  applied: z.boolean(),
  revision: Revision,
  plan: z.array(PlanStep),
  /** Names this plan. As `If-Match` of the apply it makes sure that exactly this plan is carried out, or nothing. */
  planDigest: Digest.optional(),
  /** What the server has of the kinds that the files list, and none of them names. An apply with `prune` removes it. */
  unnamed: z.array(z.string()).optional(),
});
export type ApplyAnswer = z.infer<typeof ApplyAnswer>;

/** What people can do where a rollout stands, the least role that may, and where it leads. */
export const Possible = z.array(
  z.object({ command: z.string(), role: z.string(), leadsTo: z.string(), how: z.string() }),
);

/** What is asked before a rollout's next stage. It goes up where every condition is met. */
export const GateAnswer = z.object({
  alias: z.string(),
  candidate: z.string(),
  /** Where the rollout stands, such as `held`. */
  state: z.string(),
  stage: z.string(),
  /** The stage that the gate leads to, `promote` after the last one, or null where nothing follows. */
  next: z.string().nullable(),
  /** `auto`: the brain takes the step once the gate is open. */
  advance: z.enum(["manual", "auto"]),
  isOpen: z.boolean(),
  conditions: z.array(z.object({ condition: z.string(), isMet: z.boolean(), why: z.string() })),
  possible: Possible,
});
export type GateAnswer = z.infer<typeof GateAnswer>;

/** RFC 9457 problem document with flagback's `code` and `hint`. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  hint: z.string(),
  problems: z.array(z.string()).optional(),
  /** Where the rollout stands that was commanded. */
  state: z.string().optional(),
  possible: Possible.optional(),
  /** What the server's log calls the request by; also in the answer's `x-request-id`. */
  requestId: z.string().optional(),
});
export type Problem = z.infer<typeof Problem>;

/** The problem document that says an error. */
export function problemOf(error: FlagbackError, requestId?: string): Problem {
  return {
    type: `urn:flagback:error:${error.code}`,
    title: error.code.replaceAll("_", " "),
    status: error.status,
    detail: error.message,
    code: error.code,
    hint: error.hint,
    ...(error.problems ? { problems: [...error.problems] } : {}),
    ...(error.state === undefined ? {} : { state: error.state }),
    ...(error.possible ? { possible: [...error.possible] } : {}),
    ...(requestId === undefined ? {} : { requestId }),
  };
}
