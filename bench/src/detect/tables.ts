/** BRAIN's tables from samples. */

import { meanOf, quantileOf, shareOf } from "../statistics.ts";
import type { Table } from "../text.ts";
import { column, type Samples } from "./experiment.ts";
import {
  DUPLICATE_COLUMNS,
  QUALITY_MEANS,
  RECOVERY_RATES,
  TICK_CASES,
  TICK_SIZES,
  TOOL_CASES,
  TOOL_COLUMNS,
} from "./hazards.ts";
import { RUNTIME_COUNTS, SPREAD_RATES, WITHOUT_RULE, withRuntimes } from "./leave-one-out.ts";
import { DELAY_COLUMNS_A, DELAY_RATES, LEDGER_COLUMNS } from "./ledger-hazards.ts";
import { CONTRACT, PEERS } from "./peers.ts";
import { boundOutcomes } from "./product.ts";
import {
  atRate,
  BROKEN_RATES,
  DEEP_OUTCOMES,
  DELAY_COLUMNS,
  FAMILY_PARTS,
  HEALTHY_RATES,
  MID_OUTCOMES,
  PATIENCE_OUTCOMES,
  PRE_RATES,
  PRODUCT,
  PRODUCT_QUARTER,
} from "./rates.ts";
import { RELATIVE_COLUMNS, SCENARIOS, WEIGHTS } from "./relative.ts";
import { delaysOf, type Results, samplesOf } from "./results.ts";

export function allTables(results: Results): Table[] {
  return [
    falseRollbacks(results),
    delays(results, "3.2 Broken from the start", "delay 0.01 0", 0),
    ...PRE_RATES.map((pre) =>
      delays(
        results,
        `3.3 Healthy at ${pre} for ${MID_OUTCOMES} outcomes, then broken`,
        `delay ${pre} ${MID_OUTCOMES}`,
        MID_OUTCOMES,
      ),
    ),
    productDelays(results, `3.3 Healthy at 0.01 for ${DEEP_OUTCOMES}, then broken`, "deep", DEEP_OUTCOMES),
    productDelays(results, "3.3 Broken exactly where a stage begins (lump .05, C = 1.15)", "stage start", MID_OUTCOMES),
    equalContract(results),
    ...WEIGHTS.map((weight) => relative(results, weight)),
    hazards(results),
    leaveOneOut(results),
  ];
}

function falseRollbacks(results: Results): Table {
  return {
    title: `3.1 False rollbacks of a healthy candidate, limit 5 %, within 10 000 / ${CONTRACT.outcomes} outcomes`,
    columns: HEALTHY_RATES.map((rate) => `p=${rate}`),
    rows: [...PEERS.map(({ name }) => name), PRODUCT, PRODUCT_QUARTER].map((name) => ({
      name,
      cells: HEALTHY_RATES.map((rate) => {
        const stops = column(samplesOf(results, `healthy ${rate}`), name);
        return `${share(stops, (stop) => stop <= 10_000)} / ${share(stops, Number.isFinite)}`;
      }),
    })),
  };
}

function delays(results: Results, title: string, id: string, nu: number): Table {
  return {
    title: `${title}: median/p90 (mean / bound) in outcomes from the break`,
    columns: BROKEN_RATES.map((rate) => `p1=${rate}`),
    rows: [
      { name: "bound ln(100)/KL", cells: BROKEN_RATES.map((rate) => boundOutcomes(rate).toFixed(1)) },
      ...DELAY_COLUMNS.map((name) => ({
        name,
        cells: BROKEN_RATES.map((rate) => delayCell(results, id, nu, rate, name)),
      })),
    ],
  };
}

function delayCell(results: Results, id: string, nu: number, rate: number, name: string): string {
  const all = column(samplesOf(results, id), atRate(rate, name));
  const early = shareOf(all, (stop) => stop <= nu).value;
  const after = delaysOf(results, id, nu, rate, name);
  if (after.length === 0) return "all stopped before";
  const ratio = (meanOf(after).value / boundOutcomes(rate)).toFixed(2);
  const mark = early >= 0.005 ? ` [false ${percent(early)}]` : "";
  return `${outcomes(quantileOf(after, 0.5))}/${outcomes(quantileOf(after, 0.9))} (${ratio}x)${mark}`;
}

function productDelays(results: Results, title: string, id: string, nu: number): Table {
  return {
    title: `${title}: median/p90 (mean / bound) in outcomes from the break`,
    columns: BROKEN_RATES.map((rate) => `p1=${rate}`),
    rows: [{ name: PRODUCT, cells: BROKEN_RATES.map((rate) => delayCell(results, id, nu, rate, PRODUCT)) }],
  };
}

function equalContract(results: Results): Table {
  const names = [...PEERS.filter(({ tuning }) => tuning !== "documented").map(({ name }) => name), PRODUCT];
  const cells = [
    { id: "delay 0.01 0", nu: 0 },
    { id: `delay ${PRE_RATES[0]} ${MID_OUTCOMES}`, nu: MID_OUTCOMES },
  ];
  return {
    title: `Equal contract: mean outcomes to rollback, start / after ${MID_OUTCOMES} at ${PRE_RATES[0]}`,
    columns: BROKEN_RATES.map((rate) => `p1=${rate}`),
    rows: names.map((name) => ({
      name,
      cells: BROKEN_RATES.map((rate) =>
        cells.map(({ id, nu }) => meanOf(delaysOf(results, id, nu, rate, name)).value.toFixed(1)).join(" / "),
      ),
    })),
  };
}

function relative(results: Results, weight: number): Table {
  return {
    title: `3.6 Relative, candidate weight ${weight}: share that stops, or median/p90 candidate outcomes`,
    columns: RELATIVE_COLUMNS,
    rows: SCENARIOS.map((scenario) => ({
      name: scenario.name,
      cells: RELATIVE_COLUMNS.map((name) => {
        const stops = column(samplesOf(results, `relative ${weight} ${scenario.name}`), name);
        const fired = shareOf(stops, Number.isFinite).value;
        if (scenario.isNull) return percent(fired);
        if (fired < 0.99) return `${percent(fired)} stop`;
        const early = shareOf(stops, (stop) => stop <= scenario.nu).value;
        const after = stops.filter((stop) => stop > scenario.nu).map((stop) => stop - scenario.nu);
        const mark = early >= 0.005 ? ` [false ${percent(early)}]` : "";
        return `${quantileOf(after, 0.5).toFixed(0)}/${quantileOf(after, 0.9).toFixed(0)}${mark}`;
      }),
    })),
  };
}

function hazards(results: Results): Table {
  const row = (name: string, samples: Samples, columnName: string) => {
    const stops = column(samples, columnName);
    const cells = [
      shareOf(stops, Number.isFinite).value.toFixed(4),
      quantileOf(stops, 0.5).toFixed(1),
      quantileOf(stops, 0.9).toFixed(1),
    ];
    return { name, cells };
  };
  const rows = (id: string, what: string, columns: readonly string[]) =>
    columns.map((name) => row(`${what}: ${name}`, samplesOf(results, id), name));
  return {
    title: "3.7 Hazards",
    columns: ["stopped", "median", "p90"],
    rows: [
      ...DELAY_RATES.flatMap((rate) => rows(`hazard a ${rate}`, `(a) delays, p=${rate}, seconds`, DELAY_COLUMNS_A)),
      ...TOOL_CASES.flatMap(({ mean, correlation }) =>
        rows(`hazard b ${mean} ${correlation}`, `(b) tools, mean ${mean}, ICC ${correlation}, runs`, TOOL_COLUMNS),
      ),
      ...rows("hazard c", "(c) duplicated failures, p=0.04", DUPLICATE_COLUMNS),
      ...TICK_CASES.flatMap(({ rate, nu }) =>
        rows(
          `hazard d ${rate} ${nu}`,
          `(d) p1=${rate} after ${nu}`,
          TICK_SIZES.map((size) => `tick ${size}`),
        ),
      ),
      ...FAMILY_PARTS.flatMap((part) =>
        rows(`family ${part}`, `(e) four guardrails at ${part} of their limits`, ["sum rule", "Bonferroni"]),
      ),
      ...QUALITY_MEANS.flatMap((mean) => rows(`hazard f ${mean}`, `(f) quality ${mean} against .8`, ["flagback"])),
      ...RECOVERY_RATES.flatMap((rate) => rows(`hazard g ${rate}`, `(g) recovery proof at ${rate}`, ["flagback"])),
      ...LEDGER_COLUMNS.slice(0, 3).map((name) => {
        const differing = shareOf(column(samplesOf(results, "hazard e"), name), (value) => value > 0).value;
        return { name: `ledger, ${name}: verdicts that differ`, cells: [differing.toFixed(4), "", ""] };
      }),
    ],
  };
}

function leaveOneOut(results: Results): Table {
  return {
    title:
      "One runtime can't decide alone: mean delay from the start, as a ratio to the test without the rule (outcomes)",
    columns: SPREAD_RATES.map((rate) => `p1=${rate}`),
    rows: [WITHOUT_RULE, ...RUNTIME_COUNTS.map(withRuntimes)].map((name) => ({
      name,
      cells: SPREAD_RATES.map((rate) => {
        const samples = samplesOf(results, `leave one out ${rate}`);
        const mean = meanOf(column(samples, name)).value;
        const ratio = mean / meanOf(column(samples, WITHOUT_RULE)).value;
        return `${ratio.toFixed(2)}x (${mean.toFixed(1)})`;
      }),
    })),
  };
}

function share(samples: Float64Array, holds: (value: number) => boolean): string {
  return percent(shareOf(samples, holds).value);
}

function percent(part: number): string {
  if (part === 0) return "0";
  return part < 0.1 ? `${(part * 100).toFixed(2)}%` : `${(part * 100).toFixed(0)}%`;
}

function outcomes(value: number): string {
  return value >= PATIENCE_OUTCOMES ? `>${PATIENCE_OUTCOMES / 1_000}k` : value.toFixed(0);
}
