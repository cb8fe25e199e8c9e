/**
 * `npm run check:alerts [-- --require-promtool]`: Prometheus' own tool checks the alert rules and runs their tests.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { "require-promtool": { type: "boolean", default: false } } });
const folder = fileURLToPath(new URL("../../docs/operations/", import.meta.url));

const STEPS = [
  ["check", "rules", "alerts.yaml"],
  ["test", "rules", "alerts.test.yaml"],
];

for (const step of STEPS) {
  const { error, status } = spawnSync("promtool", step, { cwd: folder, stdio: "inherit" });
  if (error) {
    console.error(`check:alerts: SKIPPED, promtool can't be run (${error.message}).`);
    console.error("On Debian: apt-get install --no-install-recommends prometheus");
    process.exitCode = values["require-promtool"] ? 1 : 0;
    break;
  }
  if (status !== 0) process.exitCode = 1;
}
