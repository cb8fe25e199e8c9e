/**
 * The tables of docs/operations/metrics.md.
 */
import { readFileSync } from "node:fs";

export interface DocumentedMetric {
  readonly name: string;
  readonly type: string;
  /** Names of the labels, each with its values where they are listed. */
  readonly labels: ReadonlyMap<string, readonly string[]>;
}

export function documentedMetrics(): DocumentedMetric[] {
  const page = readFileSync(new URL("../../docs/operations/metrics.md", import.meta.url), "utf8");
  return [...page.matchAll(/^\| `(flagback_[^`]+)` \| (\w+) \|([^|]*)\|/gm)].map(
    ([, name = "", type = "", labels = ""]) => ({ name, type, labels: labelsOf(labels) }),
  );
}

/** Of such as "`alias`, `by` (`brain`, `person`)". */
function labelsOf(cell: string): Map<string, string[]> {
  return new Map(
    [...cell.matchAll(/`([^`]+)`(?: \(([^)]*)\))?/g)].map(([, label = "", values = ""]) => [
      label,
      [...values.matchAll(/`([^`]+)`/g)].map(([, value = ""]) => value),
    ]),
  );
}
