/** What a benchmark says about many measurements. */
export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly mean: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    max: sorted.at(-1) ?? Number.NaN,
    mean: values.reduce((sum, value) => sum + value, 0) / values.length,
  };
}

/** The nearest-rank quantile of ascending values. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}
