/** BRAIN's limits (its section "Benchmark") on what was measured, by their letters. */

import { check, type Limit, type Scale } from "../limit.ts";
import type { Report } from "../report.ts";
import { type Estimate, meanOf, medianOf, shareOf } from "../statistics.ts";
import { column } from "./experiment.ts";
import type { GoldenError } from "./golden.ts";
import { TICK_SIZES, TOOL_COLUMNS } from "./hazards.ts";
import { DELAY_COLUMNS_A, LEDGER_COLUMNS } from "./ledger-hazards.ts";
import { CONTRACT, type Family, PEERS, RETUNED } from "./peers.ts";
import { boundOutcomes } from "./product.ts";
import {
  atRate,
  BROKEN_RATES,
  DEEP_OUTCOMES,
  FAMILY_PARTS,
  HEALTHY_RATES,
  MID_OUTCOMES,
  PRE_RATES,
  PRODUCT,
} from "./rates.ts";
import { RELATIVE_PRODUCT, SCENARIOS, WEIGHTS } from "./relative.ts";
import { delaysOf, type Results, samplesOf } from "./results.ts";
import { retunedSettings } from "./retune.ts";

export function allLimits(
  scale: Scale,
  results: Results,
  golden: readonly GoldenError[],
  performance: Report,
): Limit[] {
  return [
    ...goldenLimits(scale, golden),
    ...healthyLimits(scale, results),
    ...startLimits(scale, results),
    ...midLimits(scale, results),
    ...relativeLimits(scale, results),
    ...hazardLimits(scale, results),
    ...performanceLimits(scale, performance),
    ...contractLimits(scale, results),
    ...competitiveLimits(scale, results),
  ];
}

function goldenLimits(scale: Scale, golden: readonly GoldenError[]): Limit[] {
  return golden.map(({ what, error, limit }) =>
    check(scale, { id: "G", what, estimate: exact(error), limit, unit: "largest error" }),
  );
}

const FALSE_LIMITS = [0, 0, 0.001, 0.003, 0.005, 0.01] as const;
const FAMILY_LIMIT = 0.01;

function healthyLimits(scale: Scale, results: Results): Limit[] {
  const single = HEALTHY_RATES.map((rate, i) =>
    check(scale, {
      id: "N",
      what: `false rollbacks within ${CONTRACT.outcomes} outcomes at ${rate}`,
      estimate: shareOf(column(samplesOf(results, `healthy ${rate}`), PRODUCT), Number.isFinite),
      // Both lists follow BRAIN's benchmark N.
      limit: FALSE_LIMITS[i] as number,
      unit: "of runs",
    }),
  );
  const family = FAMILY_PARTS.map((part) =>
    check(scale, {
      id: "N",
      what: `false rollbacks of four guardrails within 20000 outcomes at ${part} of the limits`,
      estimate: shareOf(column(samplesOf(results, `family ${part}`), "sum rule"), Number.isFinite),
      limit: FAMILY_LIMIT,
      unit: "of runs",
    }),
  );
  return [...single, ...family];
}

const START_RATIOS = [1.55, 1.48, 1.46, 1.53, 1.6, 1.65] as const;
const START_MEDIANS = [6_600, 760, 285, 86, 20, 7, 3] as const;

function startLimits(scale: Scale, results: Results): Limit[] {
  const stops = BROKEN_RATES.map((rate) => delaysOf(results, "delay 0.01 0", 0, rate, PRODUCT));
  const ratios = START_RATIOS.map((limit, i) => {
    const rate = BROKEN_RATES[i] as number;
    const mean = meanOf(stops[i] as Float64Array);
    const bound = boundOutcomes(rate);
    return check(scale, {
      id: "S",
      what: `mean delay from the start at ${rate}`,
      estimate: { value: mean.value / bound, slack: mean.slack / bound },
      limit,
      unit: "x ln(100)/KL",
    });
  });
  const always = stops.at(-1) ?? new Float64Array();
  return [
    ...ratios,
    check(scale, {
      id: "S",
      what: "runs at 1.0 that stop after exactly 3 outcomes",
      estimate: shareOf(always, (stop) => stop === 3),
      relation: "exactly",
      limit: 1,
      unit: "of runs",
    }),
    ...START_MEDIANS.map((limit, i) =>
      check(scale, {
        id: "S",
        what: `median delay from the start at ${BROKEN_RATES[i]}`,
        estimate: medianOf(stops[i] as Float64Array),
        limit,
        unit: "outcomes",
      }),
    ),
  ];
}

const MID_MEDIANS = [10_700, 1_500, 620, 203, 48, 15, 7] as const;
const DEEP_MEDIANS = { 0.1: 760, 0.3: 60 } as const;
const STAGE_MEDIANS = { 0.1: 430, 0.3: 30, 1: 4 } as const;
const NO_EARLY_STOP = 0.998;

function midLimits(scale: Scale, results: Results): Limit[] {
  const mid = PRE_RATES.flatMap((pre) => {
    const id = `delay ${pre} ${MID_OUTCOMES}`;
    const first = column(samplesOf(results, id), atRate(BROKEN_RATES[0], PRODUCT));
    return [
      ...MID_MEDIANS.map((limit, i) => {
        const rate = BROKEN_RATES[i] as number;
        return check(scale, {
          id: "M",
          what: `median delay at ${rate} after ${MID_OUTCOMES} at ${pre}`,
          estimate: medianOf(delaysOf(results, id, MID_OUTCOMES, rate, PRODUCT)),
          limit,
          unit: "outcomes",
        });
      }),
      check(scale, {
        id: "M",
        what: `runs without a stop before the break, ${MID_OUTCOMES} at ${pre}`,
        estimate: shareOf(first, (stop) => stop > MID_OUTCOMES),
        relation: "at least",
        limit: NO_EARLY_STOP,
        unit: "of runs",
      }),
    ];
  });
  const single = (id: string, nu: number, where: string, medians: Readonly<Record<string, number>>) =>
    Object.entries(medians).map(([rate, limit]) =>
      check(scale, {
        id: "M",
        what: `median delay at ${rate} ${where}`,
        estimate: medianOf(delaysOf(results, id, nu, Number(rate), PRODUCT)),
        limit,
        unit: "outcomes",
      }),
    );
  return [
    ...mid,
    ...single("deep", DEEP_OUTCOMES, `after ${DEEP_OUTCOMES} at 0.01`, DEEP_MEDIANS),
    ...single("stage start", MID_OUTCOMES, "at a stage's start", STAGE_MEDIANS),
  ];
}

const RELATIVE_MEDIANS: readonly { readonly scenario: string; readonly medians: readonly number[] }[] = [
  { scenario: "candidate .10 from 5 000 on, stable .01", medians: [170, 210, 470] },
  { scenario: "candidate .30 from 5 000 on, stable .01", medians: [40, 50, 110] },
  { scenario: "candidate .10, stable .01", medians: [80, 100, 210] },
];
const RELATIVE_FALSE = 0.01;

function relativeLimits(scale: Scale, results: Results): Limit[] {
  return WEIGHTS.flatMap((weight, w) => {
    const stopsOf = (name: string) => column(samplesOf(results, `relative ${weight} ${name}`), RELATIVE_PRODUCT);
    const nulls = SCENARIOS.filter(({ isNull }) => isNull).map(({ name }) =>
      check(scale, {
        id: "R",
        what: `relative stops, weight ${weight}: ${name}`,
        estimate: shareOf(stopsOf(name), Number.isFinite),
        limit: RELATIVE_FALSE,
        unit: "of runs",
      }),
    );
    const delays = RELATIVE_MEDIANS.map(({ scenario, medians }) => {
      const nu = SCENARIOS.find(({ name }) => name === scenario)?.nu ?? 0;
      const late = stopsOf(scenario).filter((stop) => stop > nu);
      return check(scale, {
        id: "R",
        what: `median relative delay, weight ${weight}: ${scenario}`,
        estimate: medianOf(late.map((stop) => stop - nu)),
        // One median for each weight.
        limit: medians[w] as number,
        unit: "candidate outcomes",
      });
    });
    return [...nulls, ...delays];
  });
}

function hazardLimits(scale: Scale, results: Results): Limit[] {
  const [, , ledger] = DELAY_COLUMNS_A;
  const [, byRun] = TOOL_COLUMNS;
  const of = (id: string, name: string) => column(samplesOf(results, `hazard ${id}`), name);
  const median = (what: string, samples: Float64Array, limit: number, unit: string) =>
    check(scale, { id: "H", what, estimate: medianOf(samples), limit, unit });
  const stopped = (what: string, samples: Float64Array, limit: number) =>
    check(scale, { id: "H", what, estimate: shareOf(samples, Number.isFinite), limit, unit: "of runs" });
  const never = (what: string, samples: Float64Array, limit: number, unit: string) =>
    check(scale, { id: "H", what, estimate: exact(Math.max(...samples)), limit, unit });

  const whatever = column(samplesOf(results, "hazard c"), "one outcome a run");
  const deduped = whatever.map((stop, r) => (stop === of("c", "without duplicates")[r] ? 0 : 1));
  return [
    stopped("(a) fast failures, slow successes: false stops at 0.04", of("a 0.04", ledger), 0.005),
    median("(a) time to stop at 0.15", of("a 0.15", ledger), 9, "s"),
    median("(a) time to stop at 0.30", of("a 0.3", ledger), 4, "s"),
    stopped("(b) correlated tool calls: false stops at a mean of 0.028", of("b 0.028 0.3", byRun), 0.005),
    median("(b) median delay at a mean of 0.10", of("b 0.1 0.3", byRun), 55, "runs"),
    never("(c) duplicated failures: verdicts that differ", deduped, 0, "verdicts"),
    ...tickLimits(scale, results),
    never("(d) outcomes of a tick in another order: verdicts that differ", of("e", LEDGER_COLUMNS[0]), 0, "verdicts"),
    never("(d) split over replicas: verdicts that differ", of("e", LEDGER_COLUMNS[1]), 0, "verdicts"),
    never("(e) any order of arrival: verdicts that differ", of("e", LEDGER_COLUMNS[2]), 0, "verdicts"),
    median("(f) quality .75 against .8: median delay", of("f 0.75", "flagback"), 105, "outcomes"),
    median("(f) quality .70 against .8: median delay", of("f 0.7", "flagback"), 30, "outcomes"),
    never("(g) a stored ledger read back: difference of logE", of("e", LEDGER_COLUMNS[3]), 1e-12, "nats"),
  ];
}

/** A larger tick may cost itself and a tenth. */
function tickLimits(scale: Scale, results: Results): Limit[] {
  return [...results.keys()]
    .filter((id) => id.startsWith("hazard d "))
    .flatMap((id) => {
      const samples = samplesOf(results, id);
      const single = medianOf(column(samples, "tick 1").filter((stop) => stop > 0)).value;
      return TICK_SIZES.slice(1).map((size) =>
        check(scale, {
          id: "H",
          what: `(${id.slice("hazard ".length)}) median delay with ticks of ${size}`,
          estimate: medianOf(column(samples, `tick ${size}`).filter((stop) => stop > 0)),
          limit: single * 1.1 + size,
          unit: "outcomes",
        }),
      );
    });
}

/** A machine that does something else as well gets five times as long in a quick run. */
const QUICK_PERFORMANCE_FACTOR = 5;
const STATE_LIMIT_BYTES = 128;
/** Six logarithms, n and k, and logE as it was decided on; all doubles. */
const STATE_BYTES = 8 * (6 + 2 + 1);

function performanceLimits(scale: Scale, { rows }: Report): Limit[] {
  const factor = scale === "quick" ? QUICK_PERFORMANCE_FACTOR : 1;
  const timed = rows.flatMap(({ what, value, unit, limit }) =>
    limit === undefined ? [] : [check(scale, { id: "P", what, estimate: exact(value), limit: limit * factor, unit })],
  );
  return [
    ...timed,
    check(scale, {
      id: "P",
      what: "state of a guardrail",
      estimate: exact(STATE_BYTES),
      limit: STATE_LIMIT_BYTES,
      unit: "bytes",
    }),
  ];
}

/** That the retuned settings are the loosest that hold the contract; only a full run has the seeds for it. */
function contractLimits(scale: Scale, results: Results): Limit[] {
  const samples = results.get("retune");
  if (samples === undefined) return [];
  return Object.entries(retunedSettings(samples)).map(([setting, found]) =>
    check(scale, {
      id: "E",
      what: `retuned setting ${setting} is the loosest that holds the contract`,
      // The settings' names are the same on both sides.
      estimate: exact(RETUNED[setting as keyof typeof RETUNED]),
      relation: "exactly",
      limit: found,
      unit: "",
    }),
  );
}

/** One cell of the equal-contract table. */
interface Cell {
  readonly where: string;
  readonly id: string;
  readonly nu: number;
}

const CELLS: readonly Cell[] = [
  { where: "from the start", id: "delay 0.01 0", nu: 0 },
  { where: `after ${MID_OUTCOMES} at ${PRE_RATES[0]}`, id: `delay ${PRE_RATES[0]} ${MID_OUTCOMES}`, nu: MID_OUTCOMES },
];

/** Rules that tools roll back by: BRAIN's equal-contract rows, and Tombstone. The tables have the statistical tests too. */
const COMPETITORS: readonly Family[] = ["window", "naive", "argo", "flagger", "tombstone"];

function competitiveLimits(scale: Scale, results: Results): Limit[] {
  const retuned = PEERS.filter(({ family, tuning }) => tuning === "retuned" && COMPETITORS.includes(family));
  return CELLS.flatMap(({ where, id, nu }) =>
    BROKEN_RATES.map((rate) => {
      const ours = meanOf(delaysOf(results, id, nu, rate, PRODUCT));
      const peers = retuned.map(({ name }) => ({ name, mean: meanOf(delaysOf(results, id, nu, rate, name)) }));
      const best = peers.reduce((a, b) => (b.mean.value < a.mean.value ? b : a));
      const slack = Math.hypot(ours.slack, best.mean.slack);
      return check(scale, {
        id: "C",
        what: `mean delay at ${rate} ${where} against the best retuned rule`,
        estimate: { value: ours.value, slack },
        limit: best.mean.value,
        unit: "outcomes",
        note: best.name,
      });
    }),
  );
}

function exact(value: number): Estimate {
  return { value, slack: 0 };
}
