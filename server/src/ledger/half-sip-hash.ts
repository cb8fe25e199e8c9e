/**
 * HalfSipHash-1-3, in its 64-bit form, of two texts (Aumasson and Bernstein, "SipHash: a fast short-input PRF", with 32-bit words), under a key
 * that nobody knows: whoever chooses the texts can't choose them to collide.
 */
import { randomBytes } from "node:crypto";

export class HalfSipHash {
  readonly #k0: number;
  readonly #k1: number;
  #high = 0;

  constructor(key = randomBytes(8)) {
    this.#k0 = key.readInt32LE(0);
    this.#k1 = key.readInt32LE(4);
  }

  /** The low 32 bits, as a signed integer. The others are in `high` until the next call: a pair would be an object. */
  of(first: string, second: string): number {
    let v0 = this.#k0;
    let v1 = this.#k1 ^ 0xee;
    let v2 = this.#k0 ^ 0x6c796765;
    let v3 = this.#k1 ^ 0x74656462;
    const ends = first.length;
    const length = ends + second.length;
    // A word of two UTF-16 units, and at last one of the lengths, so that no two pairs of texts give the same words.
    for (let i = 0; i <= length + 1; i += 2) {
      let word: number;
      if (i < length) {
        const low = i < ends ? first.charCodeAt(i) : second.charCodeAt(i - ends);
        const high = i + 1 < ends ? first.charCodeAt(i + 1) : i + 1 < length ? second.charCodeAt(i + 1 - ends) : 0;
        word = low | (high << 16);
      } else word = (length << 16) | ends;
      v3 ^= word;
      // One round; written out, because a function's four results would be an object.
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
      if (i >= length) break;
    }
    // The 64-bit form: two words, with three rounds before each.
    v2 ^= 0xee;
    let low = 0;
    for (let round = 0; round < 6; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      if (round !== 2) continue;
      low = v1 ^ v3;
      v1 ^= 0xdd;
    }
    this.#high = v1 ^ v3;
    return low;
  }

  /** The other 32 bits of the last `of`, as a signed integer. */
  get high(): number {
    return this.#high;
  }
}
