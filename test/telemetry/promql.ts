/**
 * What a PromQL expression asks for: names of flagback's metrics with the labels that they are matched and grouped by. No
 * parser of PromQL; `promtool` is that. It reads what alerts.yaml and the dashboard use.
 */
import type { DocumentedMetric } from "./metric-tables.ts";

const PARTS = /_(bucket|sum|count)$/;
/** Added by Prometheus itself. */
const TARGET_LABELS = ["job", "instance", "le"];

/** Each metric, label or label's value in the expression that the tables don't have, in a sentence. */
export function unknownIn(expression: string, documented: readonly DocumentedMetric[]): string[] {
  const used = [...expression.matchAll(/\b(flagback_[a-z0-9_]+)(?:\{([^}]*)\})?/g)];
  const found: DocumentedMetric[] = [];
  const problems = used.flatMap(([, name = "", matchers = ""]) => {
    const metric = documented.find((each) => (each.type === "histogram" ? isPartOf(name, each) : each.name === name));
    if (!metric) return [`there is no metric ${name}`];
    found.push(metric);
    return unknownLabels(metric, matchers);
  });
  const known = new Set([...TARGET_LABELS, ...found.flatMap(({ labels }) => [...labels.keys()])]);
  const grouped = [...expression.matchAll(/\b(?:by|without) \(([^)]*)\)/g)].flatMap(([, names = ""]) =>
    names.split(",").map((name) => name.trim()),
  );
  return [...problems, ...grouped.filter((name) => !known.has(name)).map((name) => `nothing has the label ${name}`)];
}

/** Whether it is a series of the histogram, which has none under its own name. */
function isPartOf(name: string, { name: metric }: DocumentedMetric): boolean {
  return PARTS.test(name) && name.replace(PARTS, "") === metric;
}

function unknownLabels({ name, labels }: DocumentedMetric, matchers: string): string[] {
  return [...matchers.matchAll(/([a-z_]+)(=~|!~|!=|=)"([^"]*)"/g)].flatMap(([, label = "", operator, text = ""]) => {
    if (TARGET_LABELS.includes(label)) return [];
    const values = labels.get(label);
    if (!values) return [`${name} has no label ${label}`];
    // A variable of the dashboard, or a label without a list.
    if (values.length === 0 || text.startsWith("$")) return [];
    const meant = operator === "=" || operator === "!=" ? [text] : text.split("|");
    return meant.filter((value) => !values.includes(value)).map((value) => `${name} has no ${label} ${value}`);
  });
}
