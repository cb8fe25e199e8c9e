/** One thread: answers a part of an experiment with its samples. */
import { parentPort } from "node:worker_threads";
import { makeExperiments } from "./catalogue.ts";
import { replicate } from "./experiment.ts";
import type { Part } from "./pool.ts";

const experiments = makeExperiments();

parentPort?.on("message", ({ index, from, to }: Part) => {
  const experiment = experiments[index];
  if (experiment === undefined) throw new RangeError(`there is no experiment ${index}`);
  const values = replicate(experiment, from, to);
  parentPort?.postMessage(values, [values.buffer as ArrayBuffer]);
});
