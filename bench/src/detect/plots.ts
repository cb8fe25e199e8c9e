/** The plots of docs/brain.md as SVG text. The same samples give the same bytes. */

import { meanOf, shareOf } from "../statistics.ts";
import { column } from "./experiment.ts";
import { PEERS, type Peer } from "./peers.ts";
import { BROKEN_RATES, HEALTHY_RATES, MID_OUTCOMES, ORACLE_SPRT, ORACLE_SR, PRE_RATES, PRODUCT } from "./rates.ts";
import { delaysOf, type Results, samplesOf } from "./results.ts";

interface Line {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly isOurs: boolean;
  readonly isDashed: boolean;
}

interface Axis {
  readonly label: string;
  readonly ticks: readonly number[];
  readonly format: (value: number) => string;
  /** Where a value lies on the axis, from 0 to 1. */
  readonly place: (value: number) => number;
}

interface Plot {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly lines: readonly Line[];
}

/** File name and content of each plot. */
export function allPlots(results: Results): Readonly<Record<string, string>> {
  return {
    "delay-from-start.svg": render(
      delayPlot(
        results,
        "Broken from the start: outcomes until rollback, at equal false rollbacks",
        "delay 0.01 0",
        0,
        ORACLE_SPRT,
      ),
    ),
    "delay-mid-stage.svg": render(
      delayPlot(
        results,
        `Broken after ${MID_OUTCOMES.toLocaleString("en")} good outcomes: outcomes until rollback, at equal false rollbacks`,
        `delay ${PRE_RATES[0]} ${MID_OUTCOMES}`,
        MID_OUTCOMES,
        ORACLE_SR,
      ),
    ),
    "false-rollbacks.svg": render(falsePlot(results)),
  };
}

function delayPlot(results: Results, title: string, id: string, nu: number, oracle: string): Plot {
  const lineOf = (name: string, label: string, isOurs: boolean, isDashed: boolean): Line => ({
    label,
    isOurs,
    isDashed,
    points: BROKEN_RATES.map((rate) => [rate, meanOf(delaysOf(results, id, nu, rate, name)).value] as const),
  });
  const retuned = PEERS.filter(({ tuning }) => tuning === "retuned");
  return {
    title,
    x: logAxis("true error rate of the candidate (limit 5 %)", [0.06, 0.08, 0.1, 0.15, 0.3, 0.6, 1], percent),
    y: logAxis("mean outcomes until rollback", [1, 10, 100, 1_000, 10_000, 30_000], (value) =>
      value.toLocaleString("en"),
    ),
    lines: [
      lineOf(PRODUCT, "flagback", true, false),
      lineOf(oracle, "limit: a rule that knows the rate", false, true),
      ...retuned.map((peer) => lineOf(peer.name, shortName(peer), false, false)),
    ],
  };
}

/** Documented settings that stand for their tool. */
const SHOWN = [
  "naive rate > 5 %, min 100",
  "Argo 60/interval, failureLimit 3 (docs)",
  "Flagger 60/interval, threshold 5 (docs)",
  "resilience4j window 100, >= 5 %",
  "Tombstone > 5 % of 100 requests",
  "peeking z-test p < .05, min 30",
  "GrowthBook-style sequence, alpha .05",
] as const;

function falsePlot(results: Results): Plot {
  const lineOf = (name: string, label: string, isOurs: boolean): Line => ({
    label,
    isOurs,
    isDashed: false,
    points: HEALTHY_RATES.map((rate) => {
      const stops = column(samplesOf(results, `healthy ${rate}`), name);
      return [rate, shareOf(stops, (stop) => stop <= 10_000).value] as const;
    }),
  });
  const x = (value: number) => (value - 0.01) / 0.04;
  return {
    title: "Healthy candidates rolled back within 10,000 outcomes, at documented settings",
    x: { label: "true error rate of the candidate (limit 5 %)", ticks: HEALTHY_RATES, format: percent, place: x },
    y: { label: "rolled back", ticks: [0, 0.25, 0.5, 0.75, 1], format: percent, place: (value) => value },
    lines: [lineOf(PRODUCT, "flagback", true), ...SHOWN.map((name) => lineOf(name, shortName(peerOf(name)), false))],
  };
}

const FAMILY_NAMES: Readonly<Record<Peer["family"], string>> = {
  naive: "rate so far",
  argo: "Argo Rollouts",
  flagger: "Flagger",
  window: "resilience4j window",
  tombstone: "Tombstone",
  ztest: "peeking z-test",
  sequence: "GrowthBook-style",
};

function shortName(peer: Peer): string {
  return FAMILY_NAMES[peer.family];
}

function peerOf(name: string): Peer {
  const peer = PEERS.find((each) => each.name === name);
  if (peer === undefined) throw new RangeError(`there is no peer ${name}`);
  return peer;
}

function logAxis(label: string, ticks: readonly number[], format: (value: number) => string): Axis {
  const from = Math.log(ticks[0] ?? 1);
  const span = Math.log(ticks.at(-1) ?? 1) - from;
  return { label, ticks, format, place: (value) => (Math.log(value) - from) / span };
}

function percent(value: number): string {
  return `${+(value * 100).toFixed(1)} %`;
}

const WIDTH = 760;
const HEIGHT = 420;
const FRAME = { left: 70, right: 190, top: 44, bottom: 56 } as const;
/** Okabe and Ito's, which colour-blind readers can tell apart; readable on white and on dark grey. */
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#b39500", "#0072b2", "#d55e00", "#cc79a7"] as const;
const STYLE = [
  "text{font:12px system-ui,sans-serif;fill:#24292f}",
  ".title{font-size:14px;font-weight:600}",
  ".grid{stroke:#8c959f;stroke-opacity:.3}",
  ".line{fill:none;stroke-width:1.5}",
  ".ours{fill:none;stroke:#cf222e;stroke-width:3.5}",
  ".limit{fill:none;stroke:#57606a;stroke-width:1.5;stroke-dasharray:5 4}",
  "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.limit{stroke:#9ea7b3}.ours{stroke:#ff7b72}}",
].join("");

function render({ title, x, y, lines }: Plot): string {
  const left = (value: number) => FRAME.left + x.place(value) * (WIDTH - FRAME.left - FRAME.right);
  const top = (value: number) => HEIGHT - FRAME.bottom - y.place(value) * (HEIGHT - FRAME.top - FRAME.bottom);
  const right = WIDTH - FRAME.right;
  const bottom = HEIGHT - FRAME.bottom;
  const middle = (FRAME.left + right) / 2;
  const gridLines = [
    ...x.ticks.map((tick) => segment(left(tick), FRAME.top, left(tick), bottom)),
    ...y.ticks.map((tick) => segment(FRAME.left, top(tick), right, top(tick))),
  ];
  const labels = [
    ...x.ticks.map((tick) => text(left(tick), bottom + 18, x.format(tick), "middle")),
    ...y.ticks.map((tick) => text(FRAME.left - 8, top(tick) + 4, y.format(tick), "end")),
    text(middle, HEIGHT - 14, x.label, "middle"),
    `<text transform="translate(16 ${coordinate((FRAME.top + bottom) / 2)}) rotate(-90)" text-anchor="middle">${y.label}</text>`,
  ];
  let colour = 0;
  const drawn = lines.map((line, i) => {
    const look = line.isOurs
      ? 'class="ours"'
      : line.isDashed
        ? 'class="limit"'
        : `class="line" stroke="${COLOURS[colour++]}"`;
    const points = line.points.map(([px, py]) => `${coordinate(left(px))},${coordinate(top(py))}`).join(" ");
    const key = FRAME.top + 8 + i * 20;
    const sample = `${coordinate(right + 14)},${key} ${coordinate(right + 40)},${key}`;
    return [
      `<polyline ${look} points="${points}"/>`,
      `<polyline ${look} points="${sample}"/>`,
      text(right + 46, key + 4, line.isDashed ? "knows the rate" : line.label, "start"),
    ].join("\n");
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">`,
    "<desc>Generated by npm run bench -- detect --plots DIR. Peers are models of their documented rules.</desc>",
    `<style>${STYLE}</style>`,
    `<text class="title" x="${FRAME.left}" y="24">${title}</text>`,
    ...gridLines,
    ...labels,
    // Ours last, so that it lies on top.
    ...drawn.slice(1),
    drawn[0] ?? "",
    "</svg>",
    "",
  ].join("\n");
}

function segment(x1: number, y1: number, x2: number, y2: number): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map(coordinate);
  return `<line class="grid" x1="${a}" y1="${b}" x2="${c}" y2="${d}"/>`;
}

function text(x: number, y: number, content: string, anchor: string): string {
  return `<text x="${coordinate(x)}" y="${coordinate(y)}" text-anchor="${anchor}">${content}</text>`;
}

function coordinate(value: number): string {
  return String(Number(value.toFixed(1)));
}
