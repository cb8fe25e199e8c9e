/** Distributions over the streams of rng.ts. */
import { nextExponential, type Rng } from "../rng.ts";

/** In (0, 1). */
function nextUniform(next: Rng): number {
  return (next() + 0.5) / 2 ** 32;
}

/** Knuth's product of uniforms; for small means. */
export function nextPoisson(next: Rng, mean: number): number {
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = nextUniform(next); product > limit; product *= nextUniform(next)) count += 1;
  return count;
}

export function nextBeta(next: Rng, a: number, b: number): number {
  const x = nextGamma(next, a);
  const y = nextGamma(next, b);
  // Both can underflow at once for tiny shapes; then it lies at an end, at each with its probability.
  return x + y === 0 ? (nextUniform(next) < a / (a + b) ? 1 : 0) : x / (x + y);
}

/** Marsaglia and Tsang (2000); shapes below 1 by their boost. */
function nextGamma(next: Rng, shape: number): number {
  if (shape < 1) return nextGamma(next, shape + 1) * Math.exp(-nextExponential(next, 1) / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = nextNormal(next);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(nextUniform(next)) < (x * x) / 2 + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** Box and Muller's, of which the second is thrown away. */
function nextNormal(next: Rng): number {
  return Math.sqrt(-2 * Math.log(nextUniform(next))) * Math.cos(2 * Math.PI * nextUniform(next));
}

/** A shuffled copy (Fisher and Yates). */
export function shuffle<T>(next: Rng, values: readonly T[]): T[] {
  const shuffled = [...values];
  for (let i = shuffled.length - 1; i > 0; i--) {
    const j = Math.floor(nextUniform(next) * (i + 1));
    // Both indices are in range.
    [shuffled[i], shuffled[j]] = [shuffled[j] as T, shuffled[i] as T];
  }
  return shuffled;
}
