/**
 * Canonical JSON (RFC 8785) and what is derived from it: digests, and the marks that fingerprint the history.
 */
import { createHash } from "node:crypto";
import * as canonicalizeModule from "canonicalize";

// Its types describe an ES module's default export, but it is CommonJS: the function itself is the default.
const canonicalize = canonicalizeModule.default as unknown as (value: unknown) => string | undefined;

/** The mark of a database before its first change. */
export const FIRST_MARK = "0000000000000000";

/** SHA-256, in hex, of a value's canonical JSON. */
export function digestOf(value: unknown): string {
  return sha256(canonicalize(value) ?? "null");
}

/** First 16 hex digits of SHA-256(previous mark + canonical change). */
export function markAfter(previous: string, change: unknown): string {
  return sha256(previous + (canonicalize(change) ?? "null")).slice(0, 16);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
