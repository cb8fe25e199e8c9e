/**
 * How two versions differ, as text.
 */
import type { TextLine, VersionDiff } from "@flagback/schemas";
import { count, type Paint } from "./text.ts";

/** Lines shown around one that changed. */
const CONTEXT = 3;

export function versionDiffText({ from, to, isSamePayload, changes, omitted }: VersionDiff, paint: Paint): string {
  const head = [
    paint("red", `- ${from.id} (${from.kind}, digest ${from.digest.slice(0, 12)})`),
    paint("green", `+ ${to.id} (${to.kind}, digest ${to.digest.slice(0, 12)})`),
  ];
  if (isSamePayload) return [...head, "The payloads are the same."].join("\n");
  return [
    ...head,
    ...changes.flatMap((change) => ["", ...changeLines(change, paint)]),
    ...(omitted > 0 ? ["", `${count(omitted, "more difference is", "more differences are")} not shown.`] : []),
  ].join("\n");
}

function changeLines({ op, path, from, to, lines }: VersionDiff["changes"][number], paint: Paint): string[] {
  const heading = `${path === "" ? "the payload" : path} (${op})`;
  if (lines) return [heading, ...textLines(lines, paint)];
  return [
    heading,
    ...(op === "add" ? [] : sideLines("-", from).map((line) => paint("red", line))),
    ...(op === "remove" ? [] : sideLines("+", to).map((line) => paint("green", line))),
  ];
}

/** Text as it reads, everything else as JSON. */
function sideLines(sign: "-" | "+", value: unknown): string[] {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return text.split("\n").map((line) => `${sign} ${line}`);
}

function textLines(lines: readonly TextLine[], paint: Paint): string[] {
  const near = new Set(lines.flatMap(({ kind }, index) => (kind === "same" ? [] : around(index))));
  const shown: string[] = [];
  let skipped = 0;
  const skip = () => {
    if (skipped > 0) shown.push(paint("dim", `  … ${count(skipped, "line", "lines")} alike`));
    skipped = 0;
  };
  lines.forEach((line, index) => {
    if (!near.has(index)) {
      skipped += 1;
      return;
    }
    skip();
    shown.push(textLine(line, paint));
  });
  skip();
  return shown;
}

function around(index: number): number[] {
  return Array.from({ length: 2 * CONTEXT + 1 }, (_, offset) => index - CONTEXT + offset);
}

function textLine({ kind, text, parts }: TextLine, paint: Paint): string {
  if (kind === "same") return `  ${text}`;
  const colour = kind === "removed" ? "red" : "green";
  const words = parts?.map((part) => paint(part.isChanged ? [colour, "inverse"] : colour, part.text)).join("");
  return `${paint(colour, kind === "removed" ? "-" : "+")} ${words ?? paint(colour, text)}`;
}
