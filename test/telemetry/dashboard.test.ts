/** The dashboard asks for what the server has. `npm run check:alerts` has promtool parse its queries. */
import { expect, test } from "vitest";
import { type Panel, queriesOf, readDashboard } from "./dashboard.ts";
import { documentedMetrics } from "./metric-tables.ts";
import { unknownIn } from "./promql.ts";

const dashboard = readDashboard();
const metrics = documentedMetrics();
const panels = dashboard.panels.filter(({ type }) => type !== "row");
const variables = dashboard.templating.list.map(({ name }) => name);

test.each(panels)("the panel $title asks for metrics that exist, and says what it shows in which unit", (panel) => {
  const { targets = [], description, datasource, fieldConfig } = panel;
  expect(targets.length).toBeGreaterThan(0);
  expect(targets.flatMap(({ expr }) => unknownIn(expr, metrics))).toEqual([]);
  expect(targets.filter(({ expr }) => !expr.includes("flagback_"))).toEqual([]);
  expect(description).toMatch(/\.$/);
  expect(fieldConfig?.defaults.unit).toBeTruthy();
  // No data source of somebody's own Grafana.
  expect(datasource?.uid).toBe(`\${${variables[0]}}`);
});

test("variables and annotations ask for metrics that exist, and panels use no variable that does not", () => {
  expect(queriesOf(dashboard).flatMap((query) => unknownIn(query, metrics))).toEqual([]);
  const used = queriesOf(dashboard).flatMap((query) => [...query.matchAll(/\$([a-z]+)/g)].map(([, name]) => name));
  expect([...new Set(used)].filter((name) => !variables.includes(name ?? ""))).toEqual([]);
});

test("each metric of flagback's own is on the dashboard", () => {
  const shown = queriesOf(dashboard).join("\n");
  const own = metrics.filter(({ name }) => !/^flagback_(nodejs|process)_/.test(name));
  // The revision is only counted on; the variable for servers is taken from it.
  expect(own.filter(({ name }) => !shown.includes(name)).map(({ name }) => name)).toEqual([]);
});

test("panels have ids of their own, and none covers another", () => {
  expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
  const covering = dashboard.panels.flatMap((one, index) =>
    dashboard.panels.slice(index + 1).filter((other) => overlap(one, other)),
  );
  expect(covering).toEqual([]);
  expect(dashboard.panels.filter(({ gridPos: { x, w } }) => x < 0 || x + w > 24)).toEqual([]);
});

function overlap({ gridPos: a }: Panel, { gridPos: b }: Panel): boolean {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}
