import { readFileSync } from "node:fs";
import { logThreshold, newDetector, stepDetector } from "@flagback/core";
import { expect, test } from "vitest";

/** Least number of bad ones among n outcomes, judged as one batch from the start, that reaches ln(1 / 0.01). */
function leastThatStops(p0: number, n: number): number | undefined {
  for (let k = 0; k <= n; k++) if (stepDetector(newDetector(p0), n, k) >= logThreshold(0.01, 1)) return k;
  return undefined;
}

test("the table of evidence in docs/brain.md is what the detector does", () => {
  const page = readFileSync(new URL("../../docs/brain.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| (\d+) \| (.+) \|$/gm)].map((match) => ({
    n: Number(match[1]),
    cells: (match[2] ?? "").split(" | ").map((cell) => (cell === "-" ? undefined : Number(cell))),
  }));
  expect(rows).toHaveLength(11);
  for (const { n, cells } of rows) {
    expect(cells, `n = ${n}`).toEqual([0.01, 0.03, 0.05, 0.2].map((p0) => leastThatStops(p0, n)));
  }
});
