/**
 * The first line of a provider's cache file. The file outlives the process and the release that wrote it, so the format
 * only grows; what can't be read any more takes another `version`.
 */
import * as z from "zod";
import { Digest, Timestamp } from "./primitives.ts";
import { Cursor } from "./protocol.ts";

export const CACHE_FORMAT = "flagback-cache";
export const CACHE_VERSION = 1;

export const CacheHeader = z.object({
  format: z.literal(CACHE_FORMAT),
  version: z.literal(CACHE_VERSION),
  /** Address of the server that the documents are from. */
  server: z.string(),
  /** SHA-256 of the token that they were sent to. Another token may be scoped to other documents. */
  token: Digest,
  /** Name and version of the provider that wrote the file. Another one may know fields that this one left out. */
  sdk: z.string(),
  writtenAt: Timestamp,
  cursor: Cursor,
});
export type CacheHeader = z.infer<typeof CacheHeader>;
