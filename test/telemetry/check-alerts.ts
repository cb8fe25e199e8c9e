/**
 * `npm run check:alerts [-- --require-promtool]`: Prometheus' own tool checks the alert rules, runs their tests, and parses the
 * queries of the dashboard.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { stringify } from "yaml";
import { queriesOf, readDashboard } from "./dashboard.ts";

const { values } = parseArgs({ options: { "require-promtool": { type: "boolean", default: false } } });
const operations = fileURLToPath(new URL("../../docs/operations/", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "flagback-alerts-"));

try {
  const queries = join(scratch, "dashboard.yaml");
  writeFileSync(queries, asRules(queriesOf(readDashboard())));
  const isFine =
    promtool("check", "rules", "alerts.yaml") &&
    promtool("test", "rules", "alerts.test.yaml") &&
    promtool("check", "rules", queries);
  if (!isFine) process.exitCode = 1;
} catch (error) {
  console.error(`check:alerts: SKIPPED, promtool can't be run (${(error as Error).message}).`);
  console.error("On Debian: apt-get install --no-install-recommends prometheus");
  if (values["require-promtool"]) process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true });
}

/** Answers whether it found nothing wrong. @throws Error where there is no promtool */
function promtool(...args: readonly string[]): boolean {
  const { error, status } = spawnSync("promtool", args, { cwd: operations, stdio: "inherit" });
  if (error) throw error;
  return status === 0;
}

/** Queries as a file of rules, which promtool parses, with something in place of Grafana's variables. */
function asRules(exprs: readonly string[]): string {
  const rules = exprs.map((expr, index) => ({
    record: `dashboard:query:${index}`,
    expr: expr.replaceAll("$__rate_interval", "5m").replaceAll(/\$[a-z]+/g, ".*"),
  }));
  return stringify({ groups: [{ name: "dashboard", rules }] });
}
