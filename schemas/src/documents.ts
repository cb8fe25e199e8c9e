/**
 * The documents that the server keeps (DESIGN 3).
 */
import * as z from "zod";
import {
  MAX_ATTRIBUTES,
  MAX_FINISHING,
  MAX_INCIDENT_NOTES,
  MAX_PAST_STABLES,
  MAX_RELEASE_ALIASES,
  MAX_SHORT_TEXT_LENGTH,
  MAX_SLOTS,
  MAX_SWITCH_ENTRIES,
} from "./limits.ts";
import { PayloadSchema } from "./payload-schema.ts";
import { GuardrailAction, GuardrailMode, Policy } from "./policy.ts";
import {
  Digest,
  isShallow,
  Json,
  Name,
  Revision,
  Scope,
  Text,
  Timestamp,
  TOO_DEEP,
  VersionId,
  Weight,
} from "./primitives.ts";

/** Version by alias. */
export const ReleaseVersions = z
  .record(Name, VersionId)
  .refine((versions) => Object.keys(versions).length > 0, "a release needs a version")
  .refine(
    (versions) => Object.keys(versions).length <= MAX_RELEASE_ALIASES,
    `a release has at most ${MAX_RELEASE_ALIASES} aliases`,
  );
export type ReleaseVersions = z.infer<typeof ReleaseVersions>;

export const VersionKind = z.enum(["prompt", "model", "agent", "tools", "policy", "eval", "data"]);
export type VersionKind = z.infer<typeof VersionKind>;

/** An immutable release of something an agent uses. */
export const Version = z.strictObject({
  id: VersionId,
  /** The alias it was registered for. */
  alias: Name,
  kind: VersionKind,
  payload: Json,
  /** SHA-256 of the payload's canonical JSON (RFC 8785); of `{"id": <id>}` where the payload is `{}`. */
  digest: Digest,
  labels: z.record(z.string().max(64), z.string().max(256)),
  notes: Text,
  createdAt: Timestamp,
  createdBy: z.string(),
  retiredAt: Timestamp.optional(),
});
export type Version = z.infer<typeof Version>;

/**
 * Grows with each change of the document, also one that runtimes don't see; what `If-Match` compares. At least the
 * document's revision, so that a document made anew under an old key repeats none.
 */
export const Edit = z.int().min(0);

/** One slot of an allocation. A version may own several. */
export const Slot = z.strictObject({ version: VersionId, weight: Weight });
export type Slot = z.infer<typeof Slot>;

/** Ordered slots; their weights sum to 100 000, or there are none (an alias without a stable version). */
export const Allocation = z.array(Slot).max(MAX_SLOTS);
export type Allocation = z.infer<typeof Allocation>;

/** A digest that can't get weight on this alias, under any version id. */
export const Lock = z.strictObject({
  digest: Digest,
  version: VersionId,
  reason: Text,
  at: Timestamp,
  by: z.string(),
  incident: z.string().optional(),
});
export type Lock = z.infer<typeof Lock>;

export const RolloutState = z.enum([
  "exposing",
  "paused",
  "promoted",
  "rolled_back",
  "recovering",
  "recovered",
  "unverified",
  "not_recovered",
]);
export type RolloutState = z.infer<typeof RolloutState>;

/** Why the brain holds a rollout: weights stay, nothing goes up, people are alerted. */
export const HoldCause = z.enum(["shared_cause", "no_data", "excluded_runs", "sample_ratio", "freeze", "approval"]);
export type HoldCause = z.infer<typeof HoldCause>;

/** A candidate's way from first exposure to 100 %. */
export const Rollout = z.strictObject({
  rolloutNumber: z.int().min(1),
  candidate: VersionId,
  candidateDigest: Digest,
  /** The stable version that a rollback returns to. */
  target: VersionId,
  state: RolloutState,
  /** Name of the current stage, or of the last one reached. */
  stage: Name,
  startedAt: Timestamp,
  stageStartedAt: Timestamp,
  /** Revision that started it: runs assigned before it belong to no arm of it. */
  startRevision: Revision.optional(),
  /** The policy as it was when the rollout started; frozen. */
  policy: Policy,
  /** SHA-256 of the frozen policy's canonical JSON. */
  policyHash: Digest,
  /** Present while the brain holds the rollout. */
  hold: z.strictObject({ cause: HoldCause, since: Timestamp, summary: Text }).optional(),
  /** Causes that it was held for; a person who resumes has seen them, so none holds it twice. */
  heldFor: z.array(HoldCause).optional(),
  /** Id of the decision that people are asked for. While it is there, a hold is too. */
  openDecision: Digest.optional(),
  endedAt: Timestamp.optional(),
  /** Revision that rolled it back: runs assigned from it on belong to its recovery. */
  endRevision: Revision.optional(),
  decisionId: Digest.optional(),
});
export type Rollout = z.infer<typeof Rollout>;

/** The stable name that agents resolve. */
export const Alias = z.strictObject({
  name: Name,
  /** Part of the bucket key; belongs to the alias, not to the rollout. */
  salt: z.string().min(1).max(128),
  allocation: Allocation,
  stable: VersionId.nullable(),
  previousStable: z.strictObject({ version: VersionId, until: Timestamp }).optional(),
  /** Versions that were stable within `retention`, and when each ceased to be: they can't be retired yet. */
  pastStables: z
    .array(z.strictObject({ version: VersionId, at: Timestamp }))
    .max(MAX_PAST_STABLES)
    .optional(),
  candidates: z.array(VersionId),
  /** Versions that lost their weight while the policy says `onWithdraw: finish`, and until when conversations may end on each. */
  finishing: z
    .array(z.strictObject({ version: VersionId, until: Timestamp }))
    .max(MAX_FINISHING)
    .optional(),
  policy: Policy.nullable(),
  /** What the payload of each version must meet that gets weight or is registered. */
  payloadSchema: PayloadSchema.optional(),
  locks: z.array(Lock),
  rollout: Rollout.nullable(),
  /** Number of the last rollout; 0 before the first. */
  rolloutNumber: z.int().min(0),
  /** Revision of the last change that runtimes saw of it. */
  revision: Revision,
  edit: Edit,
});
export type Alias = z.infer<typeof Alias>;

/** One reason for a kill switch to be engaged. */
export const SwitchEntry = z.strictObject({
  id: z.string().min(1).max(64),
  /** `incident:ID`, `token:ID`, `trigger:ID`, or `rollout:ALIAS/NUMBER` while the brain holds a rollout. */
  owner: z.string().regex(/^(incident|token|trigger|rollout):.+$/),
  scope: Scope,
  reason: Text,
  at: Timestamp,
  until: Timestamp.optional(),
});
export type SwitchEntry = z.infer<typeof SwitchEntry>;

/** What a runtime answers for the switch when it can't trust what it holds: engaged `afterMs` past the lease, or the last value. */
export const FailSafe = z.strictObject({ engage: z.boolean(), afterMs: z.int().min(0).max(86_400_000) });
export type FailSafe = z.infer<typeof FailSafe>;

/** A boolean flag that stops actions without changing a version; engaged if any entry matches. */
export const KillSwitch = z.strictObject({
  key: Name,
  engaged: z.array(SwitchEntry).max(MAX_SWITCH_ENTRIES),
  failSafe: FailSafe,
  revision: Revision,
  edit: Edit,
});
export type KillSwitch = z.infer<typeof KillSwitch>;

/** Any other flag, in flagd's flag-definition format; evaluated by `@openfeature/flagd-core`. */
export const FlagDefinition = z
  .looseObject({
    state: z.enum(["ENABLED", "DISABLED"]),
    variants: z
      .record(z.string(), Json)
      .refine((variants) => Object.keys(variants).length > 0, "a flag needs a variant"),
    defaultVariant: z.string().nullable().optional(),
    targeting: z.record(z.string(), z.unknown()).optional(),
    metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
  })
  .refine(isShallow, TOO_DEEP);
export type FlagDefinition = z.infer<typeof FlagDefinition>;

export const Flag = z.strictObject({ key: Name, definition: FlagDefinition, revision: Revision, edit: Edit });
export type Flag = z.infer<typeof Flag>;

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

/** A name for versions of several aliases that ship together, such as a prompt and the tool policy that belongs to it. */
export const Release = z.strictObject({
  name: Name,
  /** One version for each alias. */
  versions: ReleaseVersions,
  notes: Text,
  edit: Edit,
});
export type Release = z.infer<typeof Release>;

export const Role = z.enum(["runtime", "trigger", "viewer", "operator", "lead", "admin"]);
export type Role = z.infer<typeof Role>;

/** Who did something: a token, a trigger that was fired, a link in an alert, the brain, or the server itself. */
export const Actor = z.strictObject({
  kind: z.enum(["token", "trigger", "link", "brain", "system"]),
  /** The token's name, `trigger:ID`, `link:` and the beginning of its decision's id, `brain` or `system`. */
  name: z.string(),
  /** The token's or trigger's id, or that of the webhook that the link was sent to; absent for the brain and the system. */
  id: z.string().optional(),
});
export type Actor = z.infer<typeof Actor>;

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

/** A token without its secret. */
export const Token = z.strictObject({
  id: z.string(),
  role: Role,
  name: z.string().min(1).max(128),
  /** Runtime tokens may be scoped; empty means all. */
  aliases: z.array(Name),
  /** The one trigger that a token of role `trigger` may fire. */
  trigger: Name.optional(),
  createdAt: Timestamp,
  createdBy: z.string(),
  revokedAt: Timestamp.optional(),
});
export type Token = z.infer<typeof Token>;

/** Whose words a signal is in: our own, Prometheus Alertmanager's, or those of the payload that Datadog is given. */
export const TriggerFormat = z.enum(["plain", "alertmanager", "datadog"]);
export type TriggerFormat = z.infer<typeof TriggerFormat>;

/** What a firing signal does; each of it is done once, however often the signal repeats. */
export const TriggerAction = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("rollback"),
    alias: Name,
    /** What the incident gives as its reason. */
    reason: StopReason.exclude(["manual"]).default("rollback_required"),
  }),
  z.strictObject({ kind: z.literal("engage"), key: Name, scope: Scope.default("*") }),
  z.strictObject({ kind: z.literal("pause"), alias: Name }),
]);
export type TriggerAction = z.infer<typeof TriggerAction>;

/** A trigger as people write it. */
export const TriggerDefinition = z.strictObject({
  format: TriggerFormat.default("plain"),
  action: TriggerAction,
  /** Labels that an alert must have, all of them; others do nothing. */
  labels: z
    .record(z.string().min(1).max(MAX_SHORT_TEXT_LENGTH), z.string().max(MAX_SHORT_TEXT_LENGTH))
    .refine((labels) => Object.keys(labels).length <= MAX_ATTRIBUTES, `at most ${MAX_ATTRIBUTES} labels`)
    .default({}),
});
export type TriggerDefinition = z.infer<typeof TriggerDefinition>;

/** What a monitoring system outside may do, by firing it. */
export const Trigger = z.strictObject({ id: Name, ...TriggerDefinition.shape, edit: Edit });
export type Trigger = z.infer<typeof Trigger>;

/** How a receiver wants alerts: as Standard Webhooks (signed), as messages for Slack, or as events for PagerDuty. */
export const WebhookFormat = z.enum(["standard", "slack", "pagerduty"]);
export type WebhookFormat = z.infer<typeof WebhookFormat>;

/** Where alerts go, without its secrets. */
export const Webhook = z.strictObject({
  id: z.string(),
  /** Answered as scheme and host only: what follows may be a secret. */
  url: z.url({ protocol: /^https?$/ }),
  format: WebhookFormat,
  createdAt: Timestamp,
});
export type Webhook = z.infer<typeof Webhook>;

/** One runtime that streams or polls, as `flagback runtimes` lists it. */
export const Runtime = z.strictObject({
  instance: z.string(),
  sdk: z.string(),
  tokenName: z.string(),
  connectedAt: Timestamp,
  appliedRevision: Revision.nullable(),
  /** Milliseconds from commit to the acknowledgement of the last revision; null before the first. */
  lastAppliedMs: z.number().nullable(),
  leaseLive: z.boolean(),
  /** How it follows the server; a stream where it is left out. */
  path: z.enum(["stream", "poll"]).optional(),
});
export type Runtime = z.infer<typeof Runtime>;

/** How far a revision has spread. */
export const Propagation = z.strictObject({
  revision: Revision,
  /** Runtimes that streamed or polled at the commit. */
  runtimes: z.int().min(0),
  acknowledged: z.int().min(0),
  lapsed: z.int().min(0),
  p50Ms: z.number().nullable(),
  p99Ms: z.number().nullable(),
});
export type Propagation = z.infer<typeof Propagation>;
