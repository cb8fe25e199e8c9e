/**
 * How the runtimes that follow the server stand, and how far a revision has spread among them.
 */
import * as z from "zod";
import { Revision, Timestamp } from "./primitives.ts";

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
