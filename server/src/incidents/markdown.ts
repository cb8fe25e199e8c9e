/**
 * Markdown whose text comes from others: nothing in it may end its cell or its block.
 */

export function tableOf(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return "_None._";
  const lines = [headings, headings.map(() => "---"), ...rows.map((cells) => cells.map(inline))];
  return lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** A block of code in a fence longer than any in it. */
export function fenced(text: string, language = ""): string {
  const longest = Math.max(0, ...(text.match(/`+/g) ?? []).map((ticks) => ticks.length));
  const fence = "`".repeat(Math.max(3, longest + 1));
  return `${fence}${language}\n${text}\n${fence}`;
}

/** Text on one line that reads as it is written. */
export function inline(text: string): string {
  return text
    .replace(/\s+/g, " ")
    .replace(/[\\`*<>[\]|]/g, "\\$&")
    .trim();
}
