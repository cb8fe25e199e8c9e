/**
 * How one value became another, as lines: what is alike is left out, and a long text shows the lines that changed.
 */

export interface DiffLine {
  readonly sign: "-" | "+" | " ";
  readonly text: string;
}

/** A value of more characters is shown part by part. */
const MAX_LINE = 100;
/** Lines of a text that are shown around those that changed. */
const CONTEXT_LINES = 2;

/** Missing values have no lines. */
export function structuralDiff(path: string, from: unknown, to: unknown): DiffLine[] {
  if (isAbsent(from) && isAbsent(to)) return [];
  if (isBranch(from) && isBranch(to) && Array.isArray(from) === Array.isArray(to)) {
    const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])];
    return keys.flatMap((key) => {
      const [was, is] = [from[key], to[key]];
      return JSON.stringify(was) === JSON.stringify(is) ? [] : structuralDiff(pathTo(path, from, key), was, is);
    });
  }
  if (isLongText(from) && isLongText(to)) return [{ sign: " ", text: `${path}:` }, ...textDiff(from, to)];
  return [...valueLines(path, from, "-"), ...valueLines(path, to, "+")];
}

function valueLines(path: string, value: unknown, sign: "-" | "+"): DiffLine[] {
  if (isAbsent(value)) return [];
  if (isLongText(value)) {
    return [{ sign, text: `${path}:` }, ...value.split("\n").map((line) => ({ sign, text: `  ${line}` }))];
  }
  const line = `${path}: ${typeof value === "string" ? value : JSON.stringify(value)}`;
  if (!isBranch(value) || line.length <= MAX_LINE) return [{ sign, text: line }];
  return Object.entries(value).flatMap(([key, part]) => valueLines(pathTo(path, value, key), part, sign));
}

/** One hunk, from the first line that differs to the last. */
function textDiff(from: string, to: string): DiffLine[] {
  const [was, is] = [from.split("\n"), to.split("\n")];
  const shorter = Math.min(was.length, is.length);
  let head = 0;
  while (head < shorter && was[head] === is[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && was[was.length - 1 - tail] === is[is.length - 1 - tail]) tail += 1;
  const lines = (sign: DiffLine["sign"], texts: readonly string[]) =>
    texts.map((text) => ({ sign, text: `  ${text}` }));
  return [
    ...lines(" ", was.slice(Math.max(0, head - CONTEXT_LINES), head)),
    ...lines("-", was.slice(head, was.length - tail)),
    ...lines("+", is.slice(head, is.length - tail)),
    ...lines(" ", was.slice(was.length - tail, was.length - tail + CONTEXT_LINES)),
  ];
}

function pathTo(path: string, branch: object, key: string): string {
  if (Array.isArray(branch)) return `${path}[${key}]`;
  return /^[\w-]+$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
}

function isBranch(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}

function isLongText(value: unknown): value is string {
  return typeof value === "string" && value.includes("\n");
}
