/**
 * What a run's token says, inside of its wrapping. It is stored with a conversation and comes back in another process, so
 * it only grows. No secret and no permission: every pin is checked against what the server serves when it comes back.
 */
import * as z from "zod";
import { Name, Revision, VersionId } from "./primitives.ts";

export const RunToken = z.object({
  runId: z.string().min(1).max(128),
  agent: z.string().max(128),
  conversationId: z.string().min(1).optional(),
  targetingKey: z.string().min(1).optional(),
  pins: z.array(
    z.object({
      alias: Name,
      version: VersionId,
      /** Revision of the alias that the version was served from. */
      revision: Revision,
      /** Whether the run was handed it itself; else it is only kept for the conversation, and feedback is not about it. */
      isOwn: z.boolean(),
    }),
  ),
});
export type RunToken = z.infer<typeof RunToken>;
