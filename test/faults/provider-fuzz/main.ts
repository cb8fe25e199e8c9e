/**
 * `npm run fuzz:provider -- --seconds 20 --seed 7`
 */
import { parseArgs } from "node:util";
import { fuzz } from "./fuzz.ts";

const HELP = `npm run fuzz:provider -- [--seconds N] [--seed N]

Attacks four real providers and two real servers, and checks what the providers answer. Ends with 1 where a promise was
broken, and shows what led to it.

  --seconds N   how long faults are injected (default 20); healing after each round of four seconds comes on top
  --seed N      decides every fault, its moment and its content, every change on the server, the agents' choices and the
                reconnects' jitter (default: a new one, which is printed)

The same seed plans the same run. It does not repeat it to the microsecond: sockets, timers, the servers' random ids and the
machine's load decide which frame meets which fault. A violation comes again with its seed as a rule, not always.
`;

const { values } = parseArgs({
  options: { seconds: { type: "string" }, seed: { type: "string" }, help: { type: "boolean" } },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const seconds = Number(values.seconds ?? 20);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (!(seconds > 0) || !Number.isInteger(seed)) {
  console.error(HELP);
  process.exit(2);
}
console.log(`provider fuzz: seed ${seed}, ${seconds} s of faults`);
const { violations, ...counts } = await fuzz({ seed, seconds, say: console.log });
console.log(JSON.stringify(counts, null, 2));
// One example of each, because the first often causes the rest.
for (const { runtime, rule, detail, before } of new Map(
  violations.toReversed().map((each) => [each.rule, each]),
).values()) {
  console.log(`\n${runtime} ${rule}: ${detail}\n  ${before.join("\n  ")}`);
}
console.log(`${violations.length} violations; seed ${seed}`);
// Nothing may be left that keeps the process: no socket, no timer.
process.exitCode = violations.length === 0 ? 0 : 1;
