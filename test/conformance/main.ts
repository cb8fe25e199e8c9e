/**
 * `npm run conformance -- --spec DIR [--require-spec] [--json]`: the OpenFeature specification's scenarios.
 */
import { parseArgs } from "node:util";
import { type ConformanceReport, EXPECTED_CASES, hasSpecification, runConformance } from "./conformance.ts";
import type { CaseResult } from "./run-cases.ts";

const { values } = parseArgs({
  options: {
    spec: { type: "string", default: process.env.FLAGBACK_OPENFEATURE_SPEC },
    "require-spec": { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h" },
  },
});

const USAGE = `Usage: npm run conformance -- --spec DIR [--require-spec] [--json]

DIR holds the OpenFeature specification's .feature files and test-flags.json; default: $FLAGBACK_OPENFEATURE_SPEC.
Without it nothing runs, which --require-spec makes a failure.`;

if (values.help) console.log(USAGE);
else if (hasSpecification(values.spec)) report(await runConformance(values.spec, values.json ? undefined : progress));
else skip();

function skip(): void {
  const failed = values["require-spec"] ? 1 : 0;
  if (values.json) console.log(JSON.stringify({ skipped: true, passed: 0, failed }));
  else console.log(`conformance: SKIPPED (0 of ${EXPECTED_CASES})`);
  if (failed === 0) return;
  console.error(`--require-spec: there is no folder ${values.spec || "(--spec was not given)"}`);
  process.exitCode = 1;
}

function progress({ file, line, name, failure }: CaseResult): void {
  console.log(`${failure === null ? "ok    " : "FAILED"} ${file}:${line} ${name}`);
  if (failure !== null) console.log(`       ${failure}`);
}

function report({ results, problems, passed, failed }: ConformanceReport): void {
  if (values.json) {
    const failures = results.filter(({ failure }) => failure !== null);
    console.log(JSON.stringify({ skipped: false, passed, failed, failures, problems }));
  } else {
    for (const problem of problems) console.log(`FAILED ${problem}`);
    console.log(`${passed} passed, ${failed} failed`);
  }
  if (failed > 0) process.exitCode = 1;
}
