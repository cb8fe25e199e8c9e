/**
 * `npm run test:faults -- --seconds 120 --seed 7`
 */
import { createWriteStream } from "node:fs";
import { parseArgs } from "node:util";
import { chaos } from "./chaos.ts";

const HELP = `npm run test:faults -- [--seconds N] [--seed N] [--runtimes N] [--history FILE] [--json]

Breaks a real server and real runtimes in every way that is known to break such things, writes down everything that can be
seen from outside, and judges it. Ends with the numbers of rules that were kept and broken, and with 1 where one was broken.

  --seconds N      how long faults are injected (default 120); healing after each round of ten seconds comes on top
  --seed N         decides every fault, its moment and what the operators do (default: a new one, which is printed)
  --runtimes N     runtimes (default 200)
  --history FILE   keeps everything that was seen, one event a line
  --json           prints nothing but the report, as JSON

The same seed plans the same run. It does not repeat it to the microsecond: sockets, timers, random ids and the machine's load
decide what meets which fault. A violation comes again with its seed as a rule, not always.
`;

const { values } = parseArgs({
  options: {
    seconds: { type: "string" },
    seed: { type: "string" },
    runtimes: { type: "string" },
    history: { type: "string" },
    json: { type: "boolean" },
    help: { type: "boolean" },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const seconds = Number(values.seconds ?? 120);
const runtimes = Number(values.runtimes ?? 200);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (!(seconds > 0) || !(Number.isInteger(runtimes) && runtimes > 0) || !Number.isInteger(seed)) {
  console.error(HELP);
  process.exit(2);
}
const say = values.json ? () => undefined : console.log;
say(`faults: seed ${seed}, ${runtimes} runtimes, ${seconds} s of faults`);
const history = values.history === undefined ? undefined : createWriteStream(values.history);
const report = await chaos({
  seed,
  seconds,
  runtimes,
  say,
  seen: (_before, events) => history?.write(events.map((event) => `${JSON.stringify(event)}\n`).join("")),
});
history?.end();
const { violations, skipped, faults, passed, failed } = report;
const injected = Object.values(faults).reduce((sum, count) => sum + count, 0);
if (values.json) console.log(JSON.stringify(report, null, 2));
else {
  const { violations: _said, ...counts } = report;
  console.log(JSON.stringify(counts, null, 2));
  for (const rule of new Set(violations.map((each) => each.rule))) {
    console.log(`${violations.filter((each) => each.rule === rule).length} of ${rule}`);
  }
  for (const what of skipped) console.log(`SKIPPED ${what}`);
  console.log(`${injected} faults injected, ${violations.length} violations of ${failed} rules; seed ${seed}`);
  console.log(`${passed} passed, ${failed} failed`);
}
// Nothing may be left that keeps the process: no socket, no timer, no child.
process.exitCode = failed === 0 ? 0 : 1;
