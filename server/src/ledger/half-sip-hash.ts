/**
 * HalfSipHash-1-3, in its 64-bit form, of two texts (Aumasson and Bernstein, "SipHash: a fast short-input PRF", with 32-bit words), under a key
 * that nobody knows: whoever chooses the texts can't choose them to collide.
 */
import { randomBytes } from "node:crypto";

/** Rounds before each of the two words of the hash. */
const FINAL_ROUNDS = 3;

export class HalfSipHash {
  readonly #initial: Int32Array;
  /** The state after `#first`, which hardly ever changes from one call to the next. */
  readonly #afterFirst: Int32Array;
  readonly #state = new Int32Array(4);
  #first = "";
  #high = 0;

  constructor(key = randomBytes(8)) {
    const k0 = key.readInt32LE(0);
    const k1 = key.readInt32LE(4);
    this.#initial = Int32Array.of(k0, k1 ^ 0xee, k0 ^ 0x6c796765, k1 ^ 0x74656462);
    this.#afterFirst = this.#initial.slice();
  }

  /** The low 32 bits, as a signed integer. The others are in `high` until the next call: a pair would be an object. */
  of(first: string, second: string): number {
    if (first !== this.#first) {
      absorb(first, this.#initial, this.#afterFirst);
      this.#first = first;
    }
    const state = this.#state;
    absorb(second, this.#afterFirst, state);
    // At last a word of the lengths, so that no two pairs of texts give the same words.
    const lengths = ((first.length + second.length) << 16) | first.length;
    state[3] = (state[3] as number) ^ lengths;
    mix(state, 1);
    state[0] = (state[0] as number) ^ lengths;
    // The 64-bit form: two words.
    state[2] = (state[2] as number) ^ 0xee;
    mix(state, FINAL_ROUNDS);
    const low = (state[1] as number) ^ (state[3] as number);
    state[1] = (state[1] as number) ^ 0xdd;
    mix(state, FINAL_ROUNDS);
    this.#high = (state[1] as number) ^ (state[3] as number);
    return low;
  }

  /** The other 32 bits of the last `of`, as a signed integer. */
  get high(): number {
    return this.#high;
  }
}

/** Absorbs words of two UTF-16 units each. A round is written out here, where time is spent: as a call it would be of memory. */
function absorb(text: string, before: Int32Array, after: Int32Array): void {
  let v0 = before[0] as number;
  let v1 = before[1] as number;
  let v2 = before[2] as number;
  let v3 = before[3] as number;
  const { length } = text;
  for (let i = 0; i < length; i += 2) {
    const word = i + 1 < length ? text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16) : text.charCodeAt(i);
    v3 ^= word;
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
  }
  after[0] = v0;
  after[1] = v1;
  after[2] = v2;
  after[3] = v3;
}

/** Rounds without a word. */
function mix(state: Int32Array, rounds: number): void {
  let v0 = state[0] as number;
  let v1 = state[1] as number;
  let v2 = state[2] as number;
  let v3 = state[3] as number;
  for (let round = 0; round < rounds; round++) {
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
  }
  state[0] = v0;
  state[1] = v1;
  state[2] = v2;
  state[3] = v3;
}
