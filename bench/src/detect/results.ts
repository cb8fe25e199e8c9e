/** What the experiments gave, by id. */
import { column, type Samples } from "./experiment.ts";
import { atRate, PATIENCE_OUTCOMES } from "./rates.ts";

export type Results = ReadonlyMap<string, Samples>;

/** Outcomes from the break to the stop, of runs that had not stopped before it; what takes too long counts as that long. */
export function delaysOf(results: Results, id: string, nu: number, rate: number, detector: string): Float64Array {
  return column(samplesOf(results, id), atRate(rate, detector))
    .filter((stop) => stop > nu)
    .map((stop) => Math.min(stop - nu, PATIENCE_OUTCOMES));
}

export function samplesOf(results: Results, id: string): Samples {
  const samples = results.get(id);
  if (samples === undefined) throw new RangeError(`the experiment ${id} was not run`);
  return samples;
}
