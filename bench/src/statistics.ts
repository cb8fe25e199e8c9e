/** Summaries of samples, each with the sampling error that a quick run widens its limits by. */

/** Four standard errors: what a quick run forgives. */
export const ERRORS_FORGIVEN = 4;

export interface Estimate {
  readonly value: number;
  /** Four Monte Carlo standard errors. */
  readonly slack: number;
}

/** Share of samples for which something holds. */
export function shareOf(samples: Float64Array, holds: (value: number) => boolean): Estimate {
  const n = samples.length;
  let count = 0;
  for (const value of samples) if (holds(value)) count += 1;
  const share = count / n;
  // Where none or all hold, one more or less is still possible.
  const variance = Math.max(share * (1 - share), 1 / n);
  return { value: share, slack: ERRORS_FORGIVEN * Math.sqrt(variance / n) };
}

export function meanOf(samples: Float64Array): Estimate {
  const n = samples.length;
  if (n === 0) return { value: Number.NaN, slack: Number.NaN };
  let sum = 0;
  for (const value of samples) sum += value;
  const mean = sum / n;
  let squares = 0;
  for (const value of samples) squares += (value - mean) ** 2;
  return { value: mean, slack: n < 2 ? 0 : ERRORS_FORGIVEN * Math.sqrt(squares / (n - 1) / n) };
}

/** Its slack reaches down to the order statistic four standard errors of a binomial(n, 1/2) below. */
export function medianOf(samples: Float64Array): Estimate {
  const sorted = Float64Array.from(samples).sort();
  const value = quantileOfSorted(sorted, 0.5);
  const low = Math.max(0, 0.5 - (ERRORS_FORGIVEN * 0.5) / Math.sqrt(Math.max(1, sorted.length)));
  const reached = quantileOfSorted(sorted, low);
  return { value, slack: Number.isFinite(value) ? value - reached : 0 };
}

export function quantileOf(samples: Float64Array, part: number): number {
  return quantileOfSorted(Float64Array.from(samples).sort(), part);
}

/** Linear between order statistics, as numpy does it; `Infinity` beside an infinite one. */
function quantileOfSorted(sorted: Float64Array, part: number): number {
  if (sorted.length === 0) return Number.NaN;
  const position = part * (sorted.length - 1);
  const low = sorted[Math.floor(position)] as number;
  const high = sorted[Math.ceil(position)] as number;
  return low === high || position === Math.floor(position) ? low : low + (high - low) * (position % 1);
}
