/**
 * The random streams behind BRAIN.md's numbers: xoshiro128** (Blackman and Vigna, 2018) seeded by splitmix32. Tests and
 * benchmarks only; core has no randomness.
 */

/** The next uint32 of a stream. */
export type Rng = () => number;

export function xoshiro128(seed: number): Rng {
  const split = splitmix32(seed);
  let a = split();
  let b = split();
  let c = split();
  let d = split();
  return () => {
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotateLeft(d, 11);
    return result;
  };
}

/** Whether the stream's next outcome is bad, at the given probability (BRAIN.md: u32 < floor(p 2^32)). */
export function nextIsBad(rng: Rng, probability: number): boolean {
  return rng() < Math.floor(probability * 2 ** 32);
}

/** An exponential delay with the given mean. */
export function nextExponential(rng: Rng, mean: number): number {
  return -mean * Math.log((rng() + 1) / 2 ** 32);
}

function splitmix32(seed: number): Rng {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
