/**
 * How values look to people: aligned tables, percent, moments, and colour where the terminal has it.
 */
import { styleText } from "node:util";
import { type Allocation, TOTAL_WEIGHT } from "@flagback/schemas";
import type { Io, Sink } from "./io.ts";

type Style = Parameters<typeof styleText>[0];

/** Paints text, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string;

/** Colours only for a terminal, and never against the reader's `NO_COLOR` (no-color.org) or a dumb terminal. */
export function painter(sink: Sink, env: Io["env"]): Paint {
  const isColoured = sink.isTty && !env.NO_COLOR && env.TERM !== "dumb";
  return (style, text) => (isColoured ? styleText(style, text) : text);
}

/** Rows under their headings, columns aligned by two spaces; `empty` when there are no rows. Ends without a newline. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[], empty: string): string {
  if (rows.length === 0) return empty;
  const lines = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** A weight as percent: `5 %`, `0.125 %`. */
export function percent(weight: number): string {
  return `${(weight * 100) / TOTAL_WEIGHT} %`;
}

/** Each version's whole weight, in the order of first appearance: `a@1 95 %, a@2 5 %`. */
export function allocationText(allocation: Allocation): string {
  const weights = new Map<string, number>();
  for (const slot of allocation) weights.set(slot.version, (weights.get(slot.version) ?? 0) + slot.weight);
  return [...weights].map(([version, weight]) => `${version} ${percent(weight)}`).join(", ") || "none";
}

/** `1 flag`, `2 flags`. */
export function count(n: number, one: string, several: string): string {
  return `${n} ${n === 1 ? one : several}`;
}

/** `2026-01-31T10:00:00.000Z` as `2026-01-31 10:00:00`. */
export function moment(timestamp: string): string {
  return timestamp.slice(0, 19).replace("T", " ");
}

/** Milliseconds as people say them: `0.4 ms`, `23 ms`, `1.2 s`. */
export function millis(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`;
  return ms < 10 ? `${Number(ms.toFixed(1))} ms` : `${Math.round(ms)} ms`;
}

/** Sizes as people say them: `812 B`, `4.2 kB`, `31 MB`. */
export function bytes(n: number): string {
  if (n < 1_000) return `${n} B`;
  const power = Math.min(3, Math.floor(Math.log10(n) / 3));
  const value = n / 1_000 ** power;
  return `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)} ${["B", "kB", "MB", "GB"][power]}`;
}
