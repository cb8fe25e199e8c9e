/**
 * Two texts as people compare them: by lines, and within a line that was reworded by words.
 */
import type { TextLine } from "@flagback/schemas";
import { type DiffStep, sequenceDiff } from "./sequence-diff.ts";

/** A thousand lines each between the first and the last that differ, and two hundred words of a line; some 10 ms each. */
const MAX_LINE_CELLS = 1_000_000;
const MAX_WORD_CELLS = 40_000;

/** Words, white space, and each other sign by itself. */
const WORDS = /[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu;

/** All lines of both texts. Those of a run of removed lines are compared by words with as many that were added after it. */
export function textDiff(from: string, to: string): TextLine[] {
  const steps = sequenceDiff(from.split("\n"), to.split("\n"), MAX_LINE_CELLS);
  const lines: TextLine[] = [];
  for (let index = 0; index < steps.length; ) {
    const removed = runOf(steps, index, "removed");
    const added = runOf(steps, index + removed.length, "added");
    if (removed.length + added.length === 0) {
      lines.push(steps[index] as DiffStep);
      index += 1;
      continue;
    }
    // One by one: as arguments of one call, as many as a text can have would be too many.
    for (const line of reworded(removed, added)) lines.push(line);
    index += removed.length + added.length;
  }
  return lines;
}

function runOf(steps: readonly DiffStep[], from: number, kind: DiffStep["kind"]): readonly string[] {
  let end = from;
  while (steps[end]?.kind === kind) end += 1;
  return steps.slice(from, end).map(({ text }) => text);
}

function reworded(removed: readonly string[], added: readonly string[]): TextLine[] {
  const pairs = removed.map((text, index) => (added[index] === undefined ? [] : wordsOf(text, added[index])));
  const line = (kind: "removed" | "added", text: string, steps: readonly DiffStep[] = []): TextLine => {
    const parts = partsOf(steps.filter((step) => step.kind === "same" || step.kind === kind));
    // Without a word in common, saying that each of them changed says nothing.
    const isReworded = parts.some(({ isChanged, text: part }) => !isChanged && part.trim() !== "");
    return { kind, text, ...(isReworded ? { parts } : {}) };
  };
  return [
    ...removed.map((text, index) => line("removed", text, pairs[index])),
    ...added.map((text, index) => line("added", text, pairs[index])),
  ];
}

function wordsOf(from: string, to: string): DiffStep[] {
  return sequenceDiff(from.match(WORDS) ?? [], to.match(WORDS) ?? [], MAX_WORD_CELLS);
}

/** Neighbours that are alike, as one. */
function partsOf(steps: readonly DiffStep[]): NonNullable<TextLine["parts"]> {
  const parts: { text: string; isChanged: boolean }[] = [];
  for (const { kind, text } of steps) {
    const isChanged = kind !== "same";
    const last = parts.at(-1);
    if (last?.isChanged === isChanged) last.text += text;
    else parts.push({ text, isChanged });
  }
  return parts;
}
