/**
 * What the HTTP API answers to reads. The bodies of changes are in `@flagback/schemas`.
 */
import type { CheckedVersion } from "@flagback/core";
import type {
  AlertDelivery,
  Drill,
  FeedbackSummary,
  GuardrailEvidence,
  Incident,
  IncidentSnapshot,
  Propagation,
  Recovery,
  StoredFeedback,
  Token,
  Webhook,
} from "@flagback/schemas";
import type { Delivery } from "../store/outbox.ts";

/** Runs of one version since the rollout began. */
export interface VersionTraffic {
  readonly version: string;
  readonly assigned: number;
  readonly settled: number;
  readonly failures: number;
}

/** `GET /v1/aliases/{name}/rollout?wait=settled`. */
export interface AwaitedRollout extends RolloutStatus {
  readonly waitedFor: {
    readonly rolloutNumber: number;
    /** Null where it is not settled yet. */
    readonly result: "promoted" | "rolled_back" | null;
  };
}

/** `GET /v1/aliases/{name}/rollout`. */
export interface RolloutStatus {
  readonly alias: string;
  readonly state: string;
  readonly stage: string;
  readonly candidate: string;
  readonly target: string;
  /** The candidate's weight in thousandths of a percent. */
  readonly weight: number;
  readonly rolloutNumber: number;
  /** Present while the brain holds the rollout. */
  readonly hold: { readonly cause: string; readonly since: string; readonly summary: string } | null;
  /** Id of the decision that people are asked for. */
  readonly openDecision: string | null;
  /** What the brain concludes now, in a sentence; null before the first judgement. */
  readonly explanation: string | null;
  /** The runtime without which too little evidence is left for a stop. */
  readonly heldBackBy: string | null;
  readonly evidence: readonly GuardrailEvidence[];
  /** Natural log of the weighted sum over guardrails; null before the first judgement. */
  readonly logE: number | null;
  /** The largest that it was; a stop needs the threshold once. */
  readonly peakLogE: number | null;
  readonly threshold: number | null;
  readonly traffic: readonly VersionTraffic[];
  /** Of all rollouts, by version. */
  readonly feedback: readonly FeedbackSummary[];
  /** Synthetic checks of this rollout; an older server says nothing of them. */
  readonly synthetic?: readonly CheckedVersion[];
}

/** One row of `GET /v1/feedback`. */
export interface FeedbackRow extends StoredFeedback {
  /** Grows with each that comes. */
  readonly number: number;
}

export interface FeedbackQuery {
  readonly alias?: string;
  readonly limit?: number;
}

/** `GET /v1/propagation/{revision}`. `ms` is the time from the commit to the runtime's acknowledgement. */
export interface PropagationStatus extends Propagation {
  readonly acknowledgements: readonly { readonly instance: string; readonly sdk: string; readonly ms: number }[];
}

/** `GET /v1/incidents/{id}`. */
export interface IncidentReport extends Incident {
  /** Milliseconds; null for what has not happened, or was not measured because a person rolled back. */
  readonly timings: Readonly<Record<"detectMs" | "decideMs" | "commitMs" | "convergeMs" | "recoverMs", number | null>>;
  /** As it stands now while the recovery is verified. */
  readonly recovery: Recovery;
  readonly outcomesToDecision: number | null;
  /** What was kept of the moment of the rollback. */
  readonly snapshot?: IncidentSnapshot;
}

/** `GET /v1/drills/{id}`. */
export interface DrillReport extends Drill {
  /** Whether every webhook took every alert of the last rollback. */
  readonly alerts: { readonly isMet: boolean; readonly why: string; readonly deliveries: readonly AlertDelivery[] };
}

export interface CreatedToken {
  readonly token: Token;
  /** Shown this once. */
  readonly secret: string;
  /** Of a trigger's token: what its signals may be signed with instead; shown this once too. */
  readonly signingSecret?: string;
}

export interface CreatedWebhook {
  readonly webhook: Webhook;
  /** Shown this once; only of the format `standard`. */
  readonly secret?: string;
}

export interface RotatedWebhook extends Required<CreatedWebhook> {
  /** Until when alerts are signed with the secret before as well. */
  readonly previousUntil: string;
}

export interface TestedWebhook {
  readonly delivered: boolean;
  readonly problem: string | null;
}

/** One row of `GET /v1/webhooks/{id}/deliveries`. */
export interface DeliveryAnswer extends Omit<Delivery, "id"> {
  /** As the receiver sees it in `webhook-id`. */
  readonly id: string;
}

export interface AuditQuery {
  /** Events with a greater id, oldest first; without it, the newest ones, oldest first. */
  readonly after?: number;
  readonly limit?: number;
  /** Such as `alias:support-agent`. */
  readonly target?: string;
  /** How long the server may hold the answer while there is no event. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
}
