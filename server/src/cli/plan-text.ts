/**
 * The plan of an apply as a diff.
 */
import type { PlanStep } from "@flagback/schemas";
import { inline, type Paint } from "./text.ts";

export function isChange(step: PlanStep): boolean {
  return step.action !== "unchanged";
}

/** A heading for each step, a line for each changed path, and the notes on what a reader might not expect. */
export function planText(plan: readonly PlanStep[], paint: Paint): string {
  if (plan.length === 0) return "The file asks for nothing.";
  return plan.flatMap((step) => stepLines(step, paint)).join("\n");
}

function stepLines(step: PlanStep, paint: Paint): string[] {
  const isNew = step.action === "register" || step.action === "create";
  const sign = !isChange(step) ? " " : isNew ? paint("green", "+") : paint("yellow", "~");
  return [
    `${sign} ${step.action.replaceAll("_", " ")} ${step.target}`,
    ...step.changes.flatMap(({ path, from, to }) => [
      ...(from === undefined || from === null ? [] : [paint("red", `    - ${path}: ${inline(from)}`)]),
      ...(to === undefined || to === null ? [] : [paint("green", `    + ${path}: ${inline(to)}`)]),
    ]),
    ...(step.note === undefined ? [] : [paint("dim", `    ${step.note}`)]),
  ];
}
