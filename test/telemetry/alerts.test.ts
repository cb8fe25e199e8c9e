/** The alert rules fit the metrics, the words about them, and their own tests. `npm run check:alerts` runs those. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { documentedMetrics } from "./metric-tables.ts";
import { unknownIn } from "./promql.ts";

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook: string };
}

interface RuleTest {
  readonly name: string;
  readonly input_series: readonly { readonly series: string }[];
  readonly alert_rule_test: readonly { readonly alertname: string; readonly exp_alerts: readonly unknown[] }[];
}

const read = (name: string) => readFileSync(new URL(`../../docs/operations/${name}`, import.meta.url), "utf8");
const rules = (parse(read("alerts.yaml")) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
const tests = (parse(read("alerts.test.yaml")) as { tests: RuleTest[] }).tests;
const metrics = documentedMetrics();

test.each(rules)("$alert asks for metrics that exist, and names the paragraph that says what to do", (rule) => {
  expect(unknownIn(rule.expr, metrics)).toEqual([]);
  expect(["critical", "warning"]).toContain(rule.labels.severity);
  expect(rule.annotations.runbook).toBe(`docs/operations/alerts.md#${rule.alert.toLowerCase()}`);
  expect(read("alerts.md")).toContain(`\n## ${rule.alert}\n`);
});

test("each paragraph is of an alert", () => {
  const headings = [...read("alerts.md").matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
  expect(headings.sort()).toEqual(rules.map((rule) => rule.alert).sort());
});

test.each(rules)("a test sees $alert fire, and another moment in which it does not", ({ alert }) => {
  const expected = tests.flatMap((each) => each.alert_rule_test).filter(({ alertname }) => alertname === alert);
  expect(expected.some(({ exp_alerts }) => exp_alerts.length > 0)).toBe(true);
  // Once in a healthy server, and once before it fires.
  expect(expected.filter(({ exp_alerts }) => exp_alerts.length === 0).length).toBeGreaterThanOrEqual(2);
});

test("the rules' tests feed series that the server can have", () => {
  const series = tests.flatMap((each) => each.input_series.map(({ series }) => series.replaceAll('", ', '",')));
  expect(series.length).toBeGreaterThan(30);
  expect(series.flatMap((each) => unknownIn(each, metrics))).toEqual([]);
});

test("a misspelt metric, label, value or group would be seen", () => {
  expect(unknownIn("flagback_runtime > 0", metrics)).toEqual(["there is no metric flagback_runtime"]);
  expect(unknownIn("flagback_revision_count", metrics)).toEqual(["there is no metric flagback_revision_count"]);
  expect(unknownIn("flagback_propagation_seconds", metrics)).not.toEqual([]);
  expect(unknownIn('flagback_runtimes{status="polling"}', metrics)).toEqual(["flagback_runtimes has no label status"]);
  expect(unknownIn('flagback_runtimes{state=~"polling|lost"}', metrics)).toEqual([
    "flagback_runtimes has no state lost",
  ]);
  expect(unknownIn("sum by (instance, version) (flagback_runtimes)", metrics)).toEqual([
    "nothing has the label version",
  ]);
});
