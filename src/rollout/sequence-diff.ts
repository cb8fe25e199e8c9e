/**
 * The shortest way from one sequence of texts to another: what stays, what goes and what comes, by the longest common
 * subsequence (Wagner and Fischer, 1974) between what both begin and end with.
 */

export interface DiffStep {
  readonly kind: "same" | "removed" | "added";
  readonly text: string;
}

/** What a cell can hold. */
const MAX_LENGTH = 65_535;

/** `maxCells` bounds the table of common lengths; where it would be larger, what differs is said to be replaced as a whole. */
export function sequenceDiff(from: readonly string[], to: readonly string[], maxCells: number): DiffStep[] {
  const shorter = Math.min(from.length, to.length);
  let head = 0;
  while (head < shorter && from[head] === to[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && from[from.length - 1 - tail] === to[to.length - 1 - tail]) tail += 1;
  return [
    ...steps("same", from.slice(0, head)),
    ...middle(from.slice(head, from.length - tail), to.slice(head, to.length - tail), maxCells),
    ...steps("same", from.slice(from.length - tail)),
  ];
}

function steps(kind: DiffStep["kind"], texts: readonly string[]): DiffStep[] {
  return texts.map((text) => ({ kind, text }));
}

function middle(from: readonly string[], to: readonly string[], maxCells: number): DiffStep[] {
  const width = to.length + 1;
  const isTooLarge = (from.length + 1) * width > maxCells || Math.min(from.length, to.length) > MAX_LENGTH;
  if (from.length === 0 || to.length === 0 || isTooLarge) return [...steps("removed", from), ...steps("added", to)];
  // common[i * width + j]: length of the longest common subsequence of from[i..] and to[j..].
  const common = new Uint16Array((from.length + 1) * width);
  const at = (i: number, j: number): number => common[i * width + j] as number;
  for (let i = from.length - 1; i >= 0; i--) {
    for (let j = to.length - 1; j >= 0; j--) {
      common[i * width + j] = from[i] === to[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const found: DiffStep[] = [];
  let i = 0;
  let j = 0;
  while (i < from.length && j < to.length) {
    const removed = from[i] as string;
    const added = to[j] as string;
    if (removed === added) {
      found.push({ kind: "same", text: removed });
      i += 1;
      j += 1;
    } else if (at(i + 1, j) >= at(i, j + 1)) {
      found.push({ kind: "removed", text: removed });
      i += 1;
    } else {
      found.push({ kind: "added", text: added });
      j += 1;
    }
  }
  return [...found, ...steps("removed", from.slice(i)), ...steps("added", to.slice(j))];
}
