/** What every benchmark gives. */

export interface Row {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** How often the floor of the same run fits into the value. */
  readonly ratioToFloor?: number;
  /** What the value must not exceed. */
  readonly limit?: number;
}

export interface Report {
  readonly rows: readonly Row[];
  /** Limits that did not hold, each a sentence; the process then exits with 1. */
  readonly failures: readonly string[];
  /** Printed in place of the rows. */
  readonly text?: string;
}

export interface Options {
  /** Fewer replications, for CI. */
  readonly quick: boolean;
  /** Threads. */
  readonly workers: number;
  /** Directory to write plots to. */
  readonly plots?: string;
}

export interface Benchmark {
  readonly summary: string;
  readonly run: (options: Options) => Report | Promise<Report>;
}
