/**
 * The plan of an apply as a diff.
 */
import type { PlanStep } from "@flagback/schemas";
import { type DiffLine, structuralDiff } from "./structural-diff.ts";
import type { Paint } from "./text.ts";

export function isChange(step: PlanStep): boolean {
  return step.action !== "unchanged";
}

/** A heading for each step, a line for each changed path, and the notes on what a reader might not expect. */
export function planText(plan: readonly PlanStep[], paint: Paint): string {
  if (plan.length === 0) return "The file asks for nothing.";
  return plan.flatMap((step) => stepLines(step, paint)).join("\n");
}

/** What the server has and the files do not name. */
export function unnamedText(targets: readonly string[], what: string, paint: Paint): string {
  return [`${paint("yellow", "!")} ${what}:`, ...targets.map((target) => `    ${target}`)].join("\n");
}

/** The steps alone. */
export function planHeadings(plan: readonly PlanStep[], paint: Paint): string {
  return plan.map((step) => heading(step, paint)).join("\n");
}

function stepLines(step: PlanStep, paint: Paint): string[] {
  return [
    heading(step, paint),
    ...step.changes
      .flatMap(({ path, from, to }) => structuralDiff(path, from, to))
      .map(({ sign, text }) => painted(sign, `    ${sign} ${text}`, paint)),
    ...(step.note === undefined ? [] : [paint("dim", `    ${step.note}`)]),
  ];
}

function painted(sign: DiffLine["sign"], line: string, paint: Paint): string {
  if (sign === " ") return line;
  return paint(sign === "-" ? "red" : "green", line);
}

function heading(step: PlanStep, paint: Paint): string {
  return `${signOf(step.action, paint)} ${step.action.replaceAll("_", " ")} ${step.target}`;
}

function signOf(action: PlanStep["action"], paint: Paint): string {
  switch (action) {
    case "unchanged":
      return " ";
    case "register":
    case "create":
      return paint("green", "+");
    case "retire":
    case "delete":
      return paint("red", "-");
    case "update":
    case "declare_stable":
      return paint("yellow", "~");
  }
}
