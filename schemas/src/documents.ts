/**
 * The documents that people change, most of which runtimes follow (DESIGN 3).
 */
import * as z from "zod";
import { MAX_FINISHING, MAX_PAST_STABLES, MAX_RELEASE_ALIASES, MAX_SLOTS, MAX_SWITCH_ENTRIES } from "./limits.ts";
import { PayloadSchema } from "./payload-schema.ts";
import { Policy } from "./policy.ts";
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

/** A name for versions of several aliases that ship together, such as a prompt and the tool policy that belongs to it. */
export const Release = z.strictObject({
  name: Name,
  /** One version for each alias. */
  versions: ReleaseVersions,
  notes: Text,
  edit: Edit,
});
export type Release = z.infer<typeof Release>;
