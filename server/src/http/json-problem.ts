/**
 * What JSON.parse lets pass and readers disagree on: RFC 8259 section 4 leaves open which of two equal keys counts, so a
 * proxy may check the one and a server act on the other.
 */

/** Characters of a key that a message repeats. */
const MAX_SHOWN_KEY = 64;
const QUOTE = 34;
const COMMA = 44;
const OPEN_BRACKET = 91;
const BACKSLASH = 92;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

/** What is wrong with a text that is JSON, as the rest of a sentence; `undefined` where nothing is. */
export function jsonProblem(text: string, maxDepth: number): string | undefined {
  /** For each open object its keys, for each open array nothing. */
  const open: (Set<string> | undefined)[] = [];
  let keyComes = false;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case OPEN_BRACE:
      case OPEN_BRACKET:
        keyComes = text.charCodeAt(at) === OPEN_BRACE;
        open.push(keyComes ? new Set() : undefined);
        if (open.length > maxDepth) return `is nested deeper than ${maxDepth} levels`;
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        open.pop();
        keyComes = false;
        break;
      case COMMA:
        keyComes = open.at(-1) !== undefined;
        break;
      case QUOTE: {
        const end = endOfString(text, at);
        const keys = open.at(-1);
        if (keyComes && keys) {
          const key = keyOf(text.slice(at, end + 1));
          if (keys.has(key)) return `has the key ${key.slice(0, MAX_SHOWN_KEY)} twice in one object`;
          keys.add(key);
          keyComes = false;
        }
        at = end;
      }
    }
  }
  return undefined;
}

/** Where the string that begins at `start` has its closing quote. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes += 1;
    // An even number of them escape each other.
    if (backslashes % 2 === 0) return end;
  }
}

/** `"a"` and `"\u0061"` are one key. */
function keyOf(literal: string): string {
  return literal.includes("\\") ? JSON.parse(literal) : literal.slice(1, -1);
}
