/**
 * One file of a configuration: what it says, and where in it each part stands.
 */
import { FlagbackError, MAX_JSON_DEPTH } from "@flagback/schemas";
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  Parser,
  parseDocument,
  visit,
} from "yaml";

/** Nodes that a file's references (`*name`) may stand for in all, each counted with what it contains. */
const MAX_YAML_REFERENCES = 100;
/** Collections inside one another in a file: what a payload may have, and the file around it. */
const MAX_YAML_DEPTH = MAX_JSON_DEPTH + 16;

export interface ConfigText {
  /** Missing where there is one file only, and nobody named it. */
  readonly name?: string;
  readonly text: string;
}

export interface Source {
  readonly value: unknown;
  /** Where a part stands: `FILE:LINE:COLUMN`, or `line LINE, column COLUMN`. Of what is not there, where it would belong. */
  placeOf(path: readonly PropertyKey[]): string;
}

/** YAML or JSON. Never throws: `problems` are sentences with their places, and there are some where there is no source. */
export function readSource({ name, text }: ConfigText): { readonly source?: Source; readonly problems: string[] } {
  const lines = new LineCounter();
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return name === undefined ? `line ${line}, column ${col}` : `${name}:${line}:${col}`;
  };
  const whole = (problem: string) => ({ problems: [`${name ?? "the file"}: ${problem}`] });
  if (isTooDeep(text)) return whole(`nested deeper than ${MAX_YAML_DEPTH} levels`);
  try {
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
    const problems = [
      ...document.errors.map(({ pos, message }) => `${at(pos[0])}: ${message}`),
      ...unusableKeys(document).map(({ offset, problem }) => `${at(offset)}: ${problem}`),
    ];
    if (problems.length > 0) return { problems };
    const value: unknown = document.toJS({ maxAliasCount: MAX_YAML_REFERENCES });
    return { source: { value, placeOf: (path) => at(offsetOf(document, path)) }, problems };
  } catch (error) {
    // The library throws where references would grow the file past all measure.
    return whole(`${(error as Error).message}; write out what its references (*name) stand for`);
  }
}

/** The error that says why files can't be read, all problems at once. */
export function malformed(problems: readonly string[]): FlagbackError {
  const [first = ""] = problems;
  return new FlagbackError({
    code: "malformed_yaml",
    message: `${first.charAt(0).toUpperCase()}${first.slice(1)}${problems.length > 1 ? `, and ${problems.length - 1} more` : ""}.`,
    hint: "Correct the YAML there; nothing was changed.",
    problems,
  });
}

/** The library's composer recurses, and a stack that runs out inside of it can end the process. Its parser does not. */
function isTooDeep(text: string): boolean {
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    for (const _done of parser.next(lexeme));
    if (parser.stack.length > MAX_YAML_DEPTH) return true;
  }
  return false;
}

/** What reads the file further on would leave the one key out in silence, and make up a text for the other. */
function unusableKeys(document: Document.Parsed): { readonly offset: number; readonly problem: string }[] {
  const found: { readonly offset: number; readonly problem: string }[] = [];
  visit(document, {
    Pair(_index, { key }) {
      const value = isScalar(key) ? key.value : key;
      const offset = isNode(key) ? (key.range?.[0] ?? 0) : 0;
      if (value === "__proto__") found.push({ offset, problem: "__proto__ can't be a key; rename it" });
      if (typeof value === "object" && value !== null)
        found.push({ offset, problem: "only a plain value can be a key" });
    },
  });
  return found;
}

/** Of the deepest part of the path that is there: a key, or an item of a list. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  let offset = document.contents?.range?.[0] ?? 0;
  let node: Node | null | undefined = document.contents;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair: Pair | undefined = node.items.find(
        ({ key }) => String(isScalar(key) ? key.value : key) === String(part),
      );
      if (!pair) return offset;
      offset = isNode(pair.key) ? (pair.key.range?.[0] ?? offset) : offset;
      node = isNode(pair.value) ? pair.value : undefined;
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(part)];
      if (!isNode(item)) return offset;
      offset = item.range?.[0] ?? offset;
      node = item;
    } else return offset;
  }
  return offset;
}
