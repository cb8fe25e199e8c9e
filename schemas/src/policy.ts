/**
 * The rollback policy of an alias: what may not happen, how exposure grows, and what to do on breach (DESIGN 11).
 */
import * as z from "zod";
import { MAX_APPROVAL_MS, MAX_CHECKS_IN_A_ROW, MAX_GUARDRAILS, MAX_STAGES } from "./limits.ts";
import { DEFAULT_KILL_SWITCH, Duration, durationMs, Name } from "./primitives.ts";

export const GuardrailMode = z.enum(["automatic", "approval", "observe"]);
export type GuardrailMode = z.infer<typeof GuardrailMode>;
export const GuardrailAction = z.enum(["rollback", "freeze", "switch"]);
export type GuardrailAction = z.infer<typeof GuardrailAction>;

/** `error_rate`, `tool_failure_rate`, `latency_p95_ms` (any quantile), `quality`, `cost_usd_mean`, `safety.<flag>`, `custom.<name>`, `spend_usd_per_hour`. */
export const Metric = z
  .string()
  .regex(
    /^(error_rate|tool_failure_rate|latency_p\d{1,2}(\.\d)?_ms|quality|cost_usd_mean|spend_usd_per_hour|safety\.[a-z0-9_]+|custom\.[A-Za-z0-9_]+)$/,
    "use error_rate, tool_failure_rate, latency_p95_ms, quality, cost_usd_mean, spend_usd_per_hour, safety.<flag> or custom.<name>",
  );

const StageOverride = z.strictObject({
  max: z.number().optional(),
  min: z.number().optional(),
});

/** What may not happen. Rates are fractions, latencies milliseconds, money US dollars. */
export const Guardrail = z.strictObject({
  metric: Metric,
  max: z.number().min(0).optional(),
  min: z.number().min(0).max(1).optional(),
  cap: z.number().positive().optional(),
  p50: z.number().optional(),
  p90: z.number().optional(),
  p95: z.number().optional(),
  p99: z.number().optional(),
  relativeTo: z.literal("stable").optional(),
  maxOddsRatio: z.number().min(1).optional(),
  mode: GuardrailMode.default("automatic"),
  action: GuardrailAction.default("rollback"),
  share: z.number().gt(0).max(1).optional(),
  stages: z.record(Name, StageOverride).optional(),
});
export type Guardrail = z.infer<typeof Guardrail>;

/** Of the traffic, up to three decimals. */
export const Percent = z.number().gt(0).max(100).multipleOf(0.001);

/** One named step of a rollout: percent of traffic and the least time spent there. */
export const Stage = z.strictObject({
  name: Name,
  percent: Percent,
  soak: Duration.default("0s"),
});
export type Stage = z.infer<typeof Stage>;

export const DEFAULT_STAGES = [
  { name: "canary", percent: 1, soak: "10m" },
  { name: "validation", percent: 5, soak: "30m" },
  { name: "soak", percent: 25, soak: "1h" },
  { name: "half", percent: 50, soak: "1h" },
  { name: "full", percent: 100, soak: "0s" },
] satisfies z.infer<typeof Stage>[];

/** Stages of a roll-forward where the policy gives none. */
export const DEFAULT_FAST_TRACK = [
  { name: "canary", percent: 5, soak: "2m" },
  { name: "half", percent: 50, soak: "5m" },
  { name: "full", percent: 100, soak: "0s" },
] satisfies z.infer<typeof Stage>[];

/** Not 0, or each run would be missing at its start; at most a day, the longest run that an outcome can report. */
const OutcomeTimeout = Duration.refine(
  (timeout) => durationMs(timeout) >= 1 && durationMs(timeout) <= 86_400_000,
  "outcomeTimeout must be from 1ms to 1d",
);

/** How long people have to approve or reject; not 0, which would ask nobody. */
const ApprovalDeadline = Duration.refine(
  (deadline) => durationMs(deadline) >= 1_000 && durationMs(deadline) <= MAX_APPROVAL_MS,
  "approval.deadline must be from 1s to 7d: one that has passed already asks nobody",
);
/** What happens where nobody answers in time. */
export const AtDeadline = z.enum(["rollback", "continue"]);
export type AtDeadline = z.infer<typeof AtDeadline>;
export const DEFAULT_APPROVAL = { deadline: "30m", atDeadline: "rollback", engage: false } as const;

export const Revoke = z.enum(["finish", "block_writes", "abort"]);
export type Revoke = z.infer<typeof Revoke>;

/** The policy as it is stored. Every part has a default but `guardrails`. */
export const Policy = z.strictObject({
  /** Probability of ever rolling back a candidate that keeps all its guardrails. */
  alpha: z.number().gt(0).max(0.5).default(0.01),
  guardrails: z.array(Guardrail).max(MAX_GUARDRAILS),
  stages: z.array(Stage).min(1).max(MAX_STAGES).default(DEFAULT_STAGES),
  /** Stages of a roll-forward, in place of `stages`. */
  fastTrack: z.strictObject({ stages: z.array(Stage).min(1).max(MAX_STAGES) }).optional(),
  advance: z.enum(["manual", "auto"]).default("manual"),
  requireDrill: z.union([z.strictObject({ maxAge: Duration }), z.literal("perRelease")]).optional(),
  onBreach: z
    .strictObject({
      /** Kill switches that a rollback engages. */
      engage: z.array(Name).default([DEFAULT_KILL_SWITCH]),
      /** `alias`: the scope `agent=<alias>`. `*`: everywhere. */
      scope: z.enum(["alias", "*"]).default("alias"),
      revoke: Revoke.default("block_writes"),
    })
    .default({ engage: [DEFAULT_KILL_SWITCH], scope: "alias", revoke: "block_writes" }),
  /** For guardrails of mode `approval`. */
  approval: z
    .strictObject({
      deadline: ApprovalDeadline.default(DEFAULT_APPROVAL.deadline),
      atDeadline: AtDeadline.default(DEFAULT_APPROVAL.atDeadline),
      /** Engage the kill switches of `onBreach` at once, while the rollback waits. */
      engage: z.boolean().default(DEFAULT_APPROVAL.engage),
    })
    .default(DEFAULT_APPROVAL),
  onSharedCause: z
    .strictObject({ weights: z.literal("hold"), engage: z.boolean(), for: Duration, then: z.enum(["stop", "hold"]) })
    .default({ weights: "hold", engage: true, for: "5m", then: "stop" }),
  onNoData: z.strictObject({ after: Duration, then: z.enum(["hold", "stop"]) }).default({ after: "5m", then: "hold" }),
  /** Rolls back once so many synthetic checks of the candidate have failed in a row, and the last one of stable has not. */
  onSyntheticFailure: z.strictObject({ inARow: z.int().min(1).max(MAX_CHECKS_IN_A_ROW) }).optional(),
  onLeaseLapse: z.enum(["stable", "last"]).default("stable"),
  /** A run without a report by then is missing, and missing is bad. */
  outcomeTimeout: OutcomeTimeout.default("60s"),
  /** `conversation`: a run that brings its conversation's token keeps the version that the conversation had. */
  stickiness: z.enum(["run", "conversation"]).default("run"),
  /**
   * What becomes of conversations whose version lost its weight other than by a rollback. `evacuate`: their next run asks
   * anew. `finish`: they may end on it within `rollbackWindow`.
   */
  onWithdraw: z.enum(["evacuate", "finish"]).default("evacuate"),
  recovery: z.strictObject({ window: Duration }).default({ window: "10m" }),
  lockCandidate: z.boolean().default(true),
  rollbackWindow: Duration.default("7d"),
  retention: Duration.default("30d"),
});
export type Policy = z.infer<typeof Policy>;
/** The policy as a person writes it. */
export type PolicyInput = z.input<typeof Policy>;
