/**
 * Which version a targeting key gets (DESIGN 4): flagd's fractional v2, so that a flagd client assigns alike.
 */
import { type Slot, TOTAL_WEIGHT } from "@flagback/schemas";
import { type HashPrefix, murmur3, murmur3After } from "./murmur3.ts";

/** Bucket of a targeting key, 0 to 99 999: `(murmur3(salt + key) * 100000) >> 32` in 64-bit arithmetic. */
export function bucketOf(salt: string, targetingKey: string): number {
  return bucketOfHash(murmur3(salt + targetingKey));
}

/** `bucketOf` for a salt that was hashed before. */
export function bucketAfter(salt: HashPrefix, targetingKey: string): number {
  return bucketOfHash(murmur3After(salt, targetingKey));
}

/** The version whose slot holds the bucket; `undefined` where the allocation is empty. */
export function versionAt(allocation: readonly Slot[], bucket: number): string | undefined {
  let end = 0;
  for (const slot of allocation) {
    end += slot.weight;
    if (bucket < end) return slot.version;
  }
  return undefined;
}

/** The product stays below 2^49, so a double holds it exactly. */
function bucketOfHash(hash: number): number {
  return Math.floor((hash * TOTAL_WEIGHT) / 2 ** 32);
}
