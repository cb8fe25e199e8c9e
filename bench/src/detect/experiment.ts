/** What the bench repeats: one experiment, many seeds. */

export interface Experiment {
  readonly id: string;
  /** Replication r runs on seed `seedBase + r`. */
  readonly seedBase: number;
  /** Replications of a full run and of a quick one. */
  readonly full: number;
  readonly quick: number;
  /** Names of what a replication gives, in order. */
  readonly columns: readonly string[];
  /** One replication; as many numbers as there are columns. `Infinity` is "did not stop". */
  readonly replicate: (seed: number) => readonly number[];
}

/** All replications of an experiment: one row for each seed. */
export interface Samples {
  readonly columns: readonly string[];
  readonly replications: number;
  readonly values: Float64Array;
}

/** The samples of one column, in the order of their seeds. */
export function column(samples: Samples, name: string): Float64Array {
  const index = samples.columns.indexOf(name);
  if (index === -1) throw new RangeError(`the experiment has no column ${name}`);
  const width = samples.columns.length;
  return Float64Array.from({ length: samples.replications }, (_, r) => samples.values[r * width + index] as number);
}

/** Runs replications `from` to `to`, without the last. */
export function replicate(experiment: Experiment, from: number, to: number): Float64Array {
  const width = experiment.columns.length;
  const values = new Float64Array((to - from) * width);
  for (let r = from; r < to; r++) {
    const row = experiment.replicate(experiment.seedBase + r);
    if (row.length !== width) throw new RangeError(`${experiment.id} gave ${row.length} numbers, not ${width}`);
    values.set(row, (r - from) * width);
  }
  return values;
}
