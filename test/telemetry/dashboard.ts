/**
 * docs/operations/grafana-dashboard.json, as far as it is checked.
 */
import { readFileSync } from "node:fs";

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: { readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[];
}

export interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}

export function readDashboard(): Dashboard {
  return JSON.parse(
    readFileSync(new URL("../../docs/operations/grafana-dashboard.json", import.meta.url), "utf8"),
  ) as Dashboard;
}

/** Every query, of panels, annotations and variables. */
export function queriesOf({ panels, annotations, templating }: Dashboard): string[] {
  return [
    ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...annotations.list.map(({ expr }) => expr),
    ...templating.list.flatMap(({ definition }) => /^label_values\((.*), \w+\)$/.exec(definition ?? "")?.[1] ?? []),
  ];
}
