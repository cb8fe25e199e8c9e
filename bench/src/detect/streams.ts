/**
 * Streams of 0/1 outcomes: the words of BRAIN.md's generator, turned into outcomes at any rate, with what peers look at
 * (failures so far, and where they are) counted once.
 */
import { xoshiro128 } from "../rng.ts";

/** The outcomes of one replication. Buffers are reused between replications. */
export interface Stream {
  /** 1 where outcome i + 1 is bad. */
  readonly bits: Uint8Array;
  /** Bad outcomes among the first n. */
  readonly badAmong: Int32Array;
  /** The bad outcomes' numbers, from 1, ascending; the first `bad` entries count. */
  readonly badAt: Int32Array;
  bad: number;
  length: number;
}

/** Outcomes up to and including `through` are bad with probability `rate`. */
export interface Segment {
  readonly through: number;
  readonly rate: number;
}

export function newStream(capacity: number): Stream {
  return {
    bits: new Uint8Array(capacity),
    badAmong: new Int32Array(capacity + 1),
    badAt: new Int32Array(capacity),
    bad: 0,
    length: 0,
  };
}

/** The first words of the seed's generator; streams that differ only in their rates share them. */
export function fillWords(words: Uint32Array, seed: number, n: number): void {
  const next = xoshiro128(seed);
  for (let i = 0; i < n; i++) words[i] = next();
}

/** Turns words into outcomes: bad where the word is below floor(rate 2^32). Segments are ascending. */
export function fillStream(stream: Stream, words: Uint32Array, segments: readonly Segment[]): void {
  let n = 0;
  let bad = 0;
  for (const { through, rate } of segments) {
    const below = Math.floor(rate * 2 ** 32);
    for (; n < through; n++) {
      // Words and buffers hold at least `through` entries.
      const isBad = (words[n] as number) < below ? 1 : 0;
      stream.bits[n] = isBad;
      if (isBad === 1) stream.badAt[bad++] = n + 1;
      stream.badAmong[n + 1] = bad;
    }
  }
  stream.bad = bad;
  stream.length = n;
}

/** A stream at one rate, or with given outcomes; for tests and for whoever needs a single one. */
export function streamOf(bits: readonly number[]): Stream {
  const stream = newStream(bits.length);
  const words = Uint32Array.from(bits, (bit) => (bit === 1 ? 0 : 2 ** 32 - 1));
  fillStream(stream, words, [{ through: bits.length, rate: 0.5 }]);
  return stream;
}
