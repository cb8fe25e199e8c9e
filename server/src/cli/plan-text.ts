/**
 * The plan of an apply as a diff.
 */
import type { PlanStep } from "@flagback/schemas";
import type { Paint } from "./text.ts";

const MAX_LINE = 120;

export function isChange(step: PlanStep): boolean {
  return step.action !== "unchanged";
}

/** A heading for each step, a line for each changed path, and the notes on what a reader might not expect. */
export function planText(plan: readonly PlanStep[], paint: Paint): string {
  if (plan.length === 0) return "The file asks for nothing.";
  return plan.flatMap((step) => stepLines(step, paint)).join("\n");
}

/** The steps alone. */
export function planHeadings(plan: readonly PlanStep[], paint: Paint): string {
  return plan.map((step) => heading(step, paint)).join("\n");
}

function stepLines(step: PlanStep, paint: Paint): string[] {
  return [
    heading(step, paint),
    ...step.changes.flatMap(({ path, from, to }) => [
      ...valueLines(path, from).map((line) => paint("red", `    - ${line}`)),
      ...valueLines(path, to).map((line) => paint("green", `    + ${line}`)),
    ]),
    ...(step.note === undefined ? [] : [paint("dim", `    ${step.note}`)]),
  ];
}

function heading(step: PlanStep, paint: Paint): string {
  const isNew = step.action === "register" || step.action === "create";
  const sign = !isChange(step) ? " " : isNew ? paint("green", "+") : paint("yellow", "~");
  return `${sign} ${step.action.replaceAll("_", " ")} ${step.target}`;
}

/** One line where it fits on one, else one for each part. Nothing for what is not there. */
function valueLines(path: string, value: unknown): string[] {
  if (value === undefined || value === null || (Array.isArray(value) && value.length === 0)) return [];
  const line = `${path}: ${typeof value === "string" ? value : JSON.stringify(value)}`;
  if (typeof value !== "object" || line.length <= MAX_LINE) return [line];
  return Object.entries(value).flatMap(([key, part]) =>
    valueLines(Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`, part),
  );
}
