/** `npm run bench -- NAME [--json] [--quick] [--workers N] [--plots DIR]`: runs one benchmark. */
import { arch, cpus, loadavg, platform } from "node:os";
import { parseArgs } from "node:util";
import { decide } from "./decide.ts";
import { detect } from "./detect/detect.ts";
import { evaluate } from "./evaluate/evaluate.ts";
import { flip } from "./flip.ts";
import { herd } from "./herd.ts";
import { ingest } from "./ingest.ts";
import { push } from "./push.ts";
import { reconnect } from "./reconnect.ts";
import type { Benchmark } from "./report.ts";
import { rollback } from "./rollback.ts";
import { soak } from "./soak.ts";
import { store } from "./store.ts";
import { storeSettings } from "./store-settings.ts";

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  decide,
  detect,
  evaluate,
  flip,
  herd,
  ingest,
  push,
  reconnect,
  rollback,
  soak,
  store,
  "store-settings": storeSettings,
};

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: "boolean", short: "h" },
    json: { type: "boolean" },
    quick: { type: "boolean", default: false },
    workers: { type: "string", default: "2" },
    plots: { type: "string" },
  },
});
const [name] = positionals;
const workers = Number(values.workers);
const benchmark = name !== undefined && Object.hasOwn(BENCHMARKS, name) ? BENCHMARKS[name] : undefined;

const usage = [
  "Usage: npm run bench -- NAME [--json] [--quick] [--workers N] [--plots DIR]",
  "",
  ...Object.entries(BENCHMARKS).map(([each, { summary }]) => `  ${each.padEnd(14)} ${summary}`),
].join("\n");

if (values.help) {
  console.log(usage);
} else if (benchmark === undefined) {
  console.error(name === undefined ? usage : `There is no benchmark ${name}.\n\n${usage}`);
  process.exitCode = 2;
} else if (!Number.isSafeInteger(workers) || workers < 1) {
  console.error(`--workers is a number of threads from 1, not ${values.workers}`);
  process.exitCode = 2;
} else {
  const machine = { node: process.version, platform: `${platform()} ${arch()}`, cores: cpus().length };
  const loadBefore = loadavg();
  const report = await benchmark.run({
    quick: values.quick,
    workers,
    ...(values.plots === undefined ? {} : { plots: values.plots }),
  });
  const context = { benchmark: name, ...machine, loadBefore, loadAfter: loadavg() };
  if (values.json) {
    const { text: _, ...data } = report;
    console.log(JSON.stringify({ ...context, ...data }));
  } else {
    console.log(
      `${name}: node ${machine.node}, ${machine.platform}, ${machine.cores} cores, load ${loadBefore[0]?.toFixed(2)}`,
    );
    if (report.text !== undefined) console.log(report.text);
    for (const row of report.rows) {
      const ratio = row.ratioToFloor === undefined ? "" : `  ${row.ratioToFloor.toFixed(1)} x floor`;
      const limit = row.limit === undefined ? "" : `  limit ${row.limit} ${row.unit}`;
      console.log(`  ${row.what.padEnd(56)} ${row.value.toPrecision(3).padStart(8)} ${row.unit}${ratio}${limit}`);
    }
    for (const failure of report.failures) console.error(`FAILED: ${failure}`);
  }
  if (report.failures.length > 0) process.exitCode = 1;
}
