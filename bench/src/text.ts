/** The report as people read it. */
import { type Limit, round } from "./limit.ts";

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly { readonly name: string; readonly cells: readonly string[] }[];
}

/** A Markdown table, padded for the terminal. */
export function renderTable({ title, columns, rows }: Table): string {
  const cells = [["", ...columns], ...rows.map(({ name, cells }) => [name, ...cells])];
  const widths = cells[0]?.map((_, i) => Math.max(3, ...cells.map((row) => row[i]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  const [header = [], ...body] = cells;
  const rule = line(widths.map((width) => "-".repeat(width)));
  return [`## ${title}`, "", line(header), rule, ...body.map(line)].join("\n");
}

export function renderLimits(limits: readonly Limit[]): string {
  const failed = limits.filter(({ holds }) => !holds).length;
  const skipped = limits.filter(({ holds, value }) => holds && value === null).length;
  const lines = limits.map(({ id, what, value, relation, limit, unit, slack, holds, note }) => {
    const measured = value === null ? "not measured" : round(value);
    const widened = slack > 0 ? ` +- ${round(slack)}` : "";
    const why = note === undefined ? "" : ` (${note})`;
    return `${holds ? (value === null ? "skips" : "holds") : "FAILS"}  ${id}  ${what}: ${measured}${widened}, ${relation} ${round(limit)} ${unit}${why}`;
  });
  return [`## Limits: ${limits.length - failed - skipped} hold, ${failed} fail, ${skipped} skipped`, "", ...lines].join(
    "\n",
  );
}
