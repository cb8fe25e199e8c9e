/**
 * How one run of an agent went, as its runtime reports it. No prompt and no answer text, by schema.
 */
import * as z from "zod";
import { few } from "./few.ts";
import {
  MAX_ATTRIBUTES,
  MAX_KEY_LENGTH,
  MAX_METRICS,
  MAX_RUN_COST_USD,
  MAX_RUN_COUNT,
  MAX_RUN_MS,
  MAX_SHORT_TEXT_LENGTH,
} from "./limits.ts";
import { Name, Timestamp, VersionId } from "./primitives.ts";

export const OutcomeStatus = z.enum(["success", "failure", "timeout", "escalated", "cancelled", "blocked"]);
export type OutcomeStatus = z.infer<typeof OutcomeStatus>;

export const ErrorOrigin = z.enum(["model", "provider", "tool", "agent", "client", "policy"]);

const Count = z.int().min(0).max(MAX_RUN_COUNT);
const ShortText = z.string().max(MAX_SHORT_TEXT_LENGTH);
const Key = z.string().max(MAX_KEY_LENGTH);
export const SafetyFlag = z.string().regex(/^[a-z0-9_]{1,64}$/);

/** One outcome. `version` is the id that the run resolved. At most one outcome counts for each (runId, alias). */
export const Outcome = z
  .strictObject({
    runId: z.string().min(1).max(MAX_SHORT_TEXT_LENGTH),
    alias: Name,
    version: VersionId,
    arm: z.enum(["candidate", "stable"]).optional(),
    status: OutcomeStatus,
    /** Milliseconds from the run's start to its end. */
    durationMs: z.number().min(0).max(MAX_RUN_MS).optional(),
    errorType: ShortText.optional(),
    errorOrigin: ErrorOrigin.optional(),
    toolCalls: Count.optional(),
    toolErrors: Count.optional(),
    writes: Count.optional(),
    blockedWrites: Count.optional(),
    costUsd: z.number().min(0).max(MAX_RUN_COST_USD).optional(),
    inputTokens: z.int().min(0).optional(),
    outputTokens: z.int().min(0).optional(),
    quality: z.number().min(0).max(1).optional(),
    safetyFlags: z.array(SafetyFlag).max(MAX_ATTRIBUTES).optional(),
    conversationId: ShortText.optional(),
    /** True when the run got the caller's default because flagback could not answer. */
    isDefault: z.boolean().optional(),
    drill: z.boolean().optional(),
    traceId: z.string().max(MAX_KEY_LENGTH).optional(),
    attributes: few(z.record(Key, ShortText), MAX_ATTRIBUTES, "attributes").optional(),
    metrics: few(z.record(Key, z.number()), MAX_METRICS, "metrics").optional(),
    startedAt: Timestamp.optional(),
    endedAt: Timestamp.optional(),
  })
  .refine((outcome) => (outcome.toolErrors ?? 0) <= (outcome.toolCalls ?? outcome.toolErrors ?? 0), {
    path: ["toolErrors"],
    message: "more tool errors than tool calls",
  });
export type Outcome = z.infer<typeof Outcome>;

/**
 * How a synthetic check went: a run that nobody asked for, made to see whether a version works. It comes by HTTP, is counted for
 * itself and never beside real runs.
 */
export const SyntheticOutcome = Outcome.safeExtend({ source: z.literal("synthetic") });
export type SyntheticOutcome = z.infer<typeof SyntheticOutcome>;
