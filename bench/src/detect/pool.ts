/** Runs experiments on worker threads. Samples are put together by seed, so that any number of threads gives the same. */
import { Worker } from "node:worker_threads";
import type { Experiment, Samples } from "./experiment.ts";

/** Replications `from` to `to`, without the last, of the catalogue's experiment at `index`. */
export interface Part {
  readonly index: number;
  readonly from: number;
  readonly to: number;
}

/** Parts of an experiment: enough that threads end together. */
const PARTS = 16;

/** Samples by experiment id. Experiments without replications are left out. */
export async function runExperiments(
  experiments: readonly Experiment[],
  replicationsOf: (experiment: Experiment) => number,
  workers: number,
  onProgress: (done: number, all: number, id: string) => void,
): Promise<ReadonlyMap<string, Samples>> {
  const results = new Map<string, Samples>();
  const parts: Part[] = [];
  experiments.forEach((experiment, index) => {
    const replications = replicationsOf(experiment);
    if (replications === 0) return;
    const { id, columns } = experiment;
    results.set(id, { columns, replications, values: new Float64Array(replications * columns.length) });
    const size = Math.ceil(replications / PARTS);
    for (let from = 0; from < replications; from += size) {
      parts.push({ index, from, to: Math.min(replications, from + size) });
    }
  });

  let taken = 0;
  let done = 0;
  const take = (): Part | undefined => parts[taken++];
  const finish = (part: Part, values: Float64Array): void => {
    const { id, columns } = experiments[part.index] as Experiment;
    results.get(id)?.values.set(values, part.from * columns.length);
    done += 1;
    onProgress(done, parts.length, id);
  };
  await Promise.all(Array.from({ length: workers }, () => runThread(take, finish)));
  return results;
}

/** One thread that works until there is nothing to take. */
function runThread(take: () => Part | undefined, finish: (part: Part, values: Float64Array) => void): Promise<void> {
  const first = take();
  if (first === undefined) return Promise.resolve();
  let current = first;
  const worker = new Worker(boot(new URL("./worker.ts", import.meta.url)), { eval: true });
  return new Promise((resolve, reject) => {
    worker.on("message", (values: Float64Array) => {
      finish(current, values);
      const next = take();
      if (next === undefined) {
        worker.terminate().then(() => resolve(), reject);
        return;
      }
      current = next;
      worker.postMessage(current);
    });
    worker.on("error", reject);
    worker.postMessage(current);
  });
}

/** On Node 20 a thread does not inherit the hooks that load TypeScript, so it registers them itself. */
function boot(module: URL): string {
  const tsx = JSON.stringify(import.meta.resolve("tsx/esm/api"));
  return `import(${tsx}).then(({ register }) => register()).then(() => import(${JSON.stringify(module.href)}));`;
}
