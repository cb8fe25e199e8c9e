/**
 * From the POST of a kill switch to the last of 1 000 runtimes holding it, against the same path without flagback: a fastify
 * handler, one durable SQLite commit and a plain `ws` broadcast. Alone, and while the server counts 10 000 outcomes a second.
 */
import { sharedNowMs } from "./load/clock.ts";
import { Fleet, Floor } from "./load/fleet.ts";
import { Peer } from "./load/peer.ts";
import type { ReporterSkills } from "./load/reporters-child.ts";
import { type Spread, spreadOf } from "./load/statistics.ts";
import type { Benchmark, Options, Report, Row } from "./report.ts";

const RUNTIMES = 1_000;
const FLIPS = 1_000;
const BUSY_FLIPS = 300;
const QUICK_FLIPS = 100;
const WARM_UP_FLIPS = 30;
const OUTCOMES_PER_SECOND = 10_000;
const REPORTERS = 100;
const MAX_RATIO = 1.25;
const MAX_BUSY_RATIO = 1.6;

export const flip: Benchmark = { summary: "a kill switch's way from its POST to the last of 1 000 runtimes", run };

interface Measured {
  readonly floor: Spread;
  readonly flagback: Spread;
}

async function run({ quick }: Options): Promise<Report> {
  const fleet = await Fleet.start();
  const floor = await Floor.start(fleet.clients);
  const reporters = await Peer.start<ReporterSkills>("./reporters-child.ts");
  try {
    await fleet.connect("runtimes", RUNTIMES);
    await floor.connect("ws", "ws", RUNTIMES);
    const { revision } = await fleet.flip();
    await fleet.arrivals("runtimes", revision);
    await floor.peer.ask("send", { text: await fleet.clients.ask("lastText", { group: "runtimes" }), from: revision });
    const alone = await flips(fleet, floor, quick ? QUICK_FLIPS : FLIPS);
    await fleet.startRollout();
    await reporters.ask("start", {
      port: fleet.port,
      token: fleet.runtimeToken,
      reporters: REPORTERS,
      perSecond: OUTCOMES_PER_SECOND,
      batch: 1,
    });
    const busy = await flips(fleet, floor, quick ? QUICK_FLIPS : BUSY_FLIPS);
    const counted = await reporters.ask("stop");
    return reportOf(alone, busy, counted.perSecond);
  } finally {
    await reporters.close();
    await floor.close();
    await fleet.close();
  }
}

/** Interleaved, so that both meet the same machine. */
async function flips(fleet: Fleet, floor: Floor, n: number): Promise<Measured> {
  const times = { floor: [] as number[], flagback: [] as number[] };
  for (let i = -WARM_UP_FLIPS; i < n; i++) {
    const flipped = await fleet.flip();
    const held = await fleet.arrivals("runtimes", flipped.revision);
    const postedMs = sharedNowMs();
    const { revision } = await floor.flip();
    const floorHeld = await fleet.arrivals("ws", revision);
    if (i < 0) continue;
    times.flagback.push(held.lastMs - flipped.postedMs);
    times.floor.push(floorHeld.lastMs - postedMs);
  }
  return { floor: spreadOf(times.floor), flagback: spreadOf(times.flagback) };
}

function reportOf(alone: Measured, busy: Measured, perSecond: number): Report {
  const rows: Row[] = [];
  const failures: string[] = [];
  const compare = (when: string, { floor, flagback }: Measured, limit: number) => {
    for (const quantile of ["p50", "p99"] as const) {
      const ratio = flagback[quantile] / floor[quantile];
      rows.push(
        { what: `${when}: without flagback, ${quantile}`, value: floor[quantile], unit: "ms" },
        { what: `${when}: flagback, ${quantile}`, value: flagback[quantile], unit: "ms", ratioToFloor: ratio },
      );
      if (!(ratio <= limit))
        failures.push(
          `${when}, the ${quantile} of a flip is ${ratio.toFixed(2)} times the path without flagback, more than ${limit}`,
        );
    }
  };
  compare("alone", alone, MAX_RATIO);
  compare("while counting outcomes", busy, MAX_BUSY_RATIO);
  rows.push({ what: "outcomes counted meanwhile", value: perSecond, unit: "/s" });
  if (perSecond < 0.95 * OUTCOMES_PER_SECOND)
    failures.push(`only ${perSecond.toFixed(0)} outcomes a second were counted meanwhile, not ${OUTCOMES_PER_SECOND}`);
  return { rows, failures };
}
