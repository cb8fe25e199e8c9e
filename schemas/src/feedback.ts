/**
 * What somebody says about a run after it can be judged, such as a customer days later: stored and shown, never judged
 * (DESIGN 11). No text of a prompt, an answer or a comment, by schema.
 */
import * as z from "zod";
import { Outcome } from "./outcome.ts";
import { Name, type Timestamp, VersionId } from "./primitives.ts";

const { runId, conversationId, status, errorType, costUsd, quality, safetyFlags, attributes, metrics } = Outcome.shape;

/** What feedback can say about a run; everything may be left out, not all of it at once. */
const SAID = { status: status.optional(), errorType, costUsd, quality, safetyFlags, attributes, metrics };
export const FEEDBACK_FIELDS = Object.keys(SAID) as readonly (keyof typeof SAID)[];

export const Feedback = z
  .strictObject({
    /** Names it: the same id is stored once for each alias, so that it can be sent again. */
    id: z.string().min(1).max(128),
    runId,
    alias: Name,
    version: VersionId,
    conversationId,
    ...SAID,
  })
  .refine((feedback) => FEEDBACK_FIELDS.some((field) => feedback[field] !== undefined), {
    message: `says nothing; give one of ${FEEDBACK_FIELDS.join(", ")}`,
  });
export type Feedback = z.infer<typeof Feedback>;

/** As the server keeps it. `receivedAt` is the server's clock. */
export type StoredFeedback = Feedback & { readonly receivedAt: z.infer<typeof Timestamp> };

/** What was said about one version so far. */
export const FeedbackSummary = z.object({
  version: VersionId,
  count: z.int().min(0),
  /** Mean of those that named a quality; null where none did. */
  quality: z.number().min(0).max(1).nullable(),
});
export type FeedbackSummary = z.infer<typeof FeedbackSummary>;
