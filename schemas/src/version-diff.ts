/**
 * How two versions differ, as the API answers it.
 */
import * as z from "zod";
import { Version } from "./documents.ts";
import { PayloadChange } from "./incident-snapshot.ts";

/** A line of two texts. `parts` say which of its words changed; without them all of it did, or nothing. */
export const TextLine = z.object({
  kind: z.enum(["same", "removed", "added"]),
  text: z.string(),
  parts: z.array(z.object({ text: z.string(), isChanged: z.boolean() })).optional(),
});
export type TextLine = z.infer<typeof TextLine>;

export const VersionDiff = z.object({
  /** Without their payloads. */
  from: Version.omit({ payload: true }),
  to: Version.omit({ payload: true }),
  isSamePayload: z.boolean(),
  /** In the words of JSON Patch (RFC 6902), with what was there before; long texts also line by line. */
  changes: z.array(
    z.object({
      op: z.enum(["add", "remove", "replace"]),
      ...PayloadChange.shape,
      lines: z.array(TextLine).optional(),
    }),
  ),
  /** Changes beyond those that are told. */
  omitted: z.int().min(0),
});
export type VersionDiff = z.infer<typeof VersionDiff>;
