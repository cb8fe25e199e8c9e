/**
 * One difference of two payloads as Markdown: a text line by line, anything else before and after.
 */
import { textDiff } from "@flagback/core";
import type { PayloadChange } from "@flagback/schemas";
import { fenced } from "./markdown.ts";

export function changeText({ path, from, to }: PayloadChange): string {
  if (typeof from === "string" && typeof to === "string") {
    const diff = textDiff(from.trimEnd(), to.trimEnd()).map(({ kind, text }) => `${SIGN[kind]} ${text}`.trimEnd());
    return `\`${path || "/"}\`\n\n${fenced(diff.join("\n"), "diff")}`;
  }
  const lines = (prefix: string, value: unknown) =>
    value === undefined
      ? []
      : textOf(value)
          .split("\n")
          .map((line) => `${prefix} ${line}`);
  return `\`${path || "/"}\`\n\n${fenced([...lines("-", from), ...lines("+", to)].join("\n"), "diff")}`;
}

const SIGN = { same: " ", removed: "-", added: "+" } as const;

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
