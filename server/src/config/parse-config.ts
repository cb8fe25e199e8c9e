/**
 * Reads a configuration file's text: YAML or JSON, then the schema, then what only the whole file can show.
 */
import {
  ConfigFile,
  type DesiredState,
  desiredState,
  type ErrorCode,
  FlagbackError,
  MAX_JSON_DEPTH,
} from "@flagback/schemas";
import { isScalar, Lexer, LineCounter, Parser, parseDocument, visit } from "yaml";
import { describeProblems, problemsCode } from "./problems.ts";

/** Nodes that a file's references (`*name`) may stand for in all, each counted with what it contains. */
const MAX_YAML_REFERENCES = 100;
/** Collections inside one another in a file: what a payload may have, and the file around it. */
const MAX_YAML_DEPTH = MAX_JSON_DEPTH + 16;

/**
 * The desired state that the text means.
 * @throws FlagbackError `malformed_yaml` with line and column, `unknown_key`, `weights_do_not_sum`, `payload_too_large` or
 * `bad_request`, listing every problem.
 */
export function parseConfig(text: string): DesiredState {
  return desired(readYaml(text) ?? {});
}

/** What a text says in YAML, of which JSON is a part. @throws FlagbackError `malformed_yaml` with line and column */
export function readYaml(text: string): unknown {
  try {
    return parsedYaml(text);
  } catch (cause) {
    if (cause instanceof FlagbackError) throw cause;
    // The library throws where references would grow the file past all measure.
    throw new FlagbackError(
      {
        code: "malformed_yaml",
        message: `The file can't be read as YAML: ${(cause as Error).message}.`,
        hint: "Write out what its references (*name) stand for, and rename such keys; nothing was changed.",
      },
      { cause },
    );
  }
}

function parsedYaml(text: string): unknown {
  checkDepth(text);
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false });
  const error = document.errors[0];
  if (error) {
    const { line, col } = lineCounter.linePos(error.pos[0]);
    throw new FlagbackError({
      code: "malformed_yaml",
      message: `Line ${line}, column ${col}: ${error.message}`,
      hint: "Correct the YAML there; nothing was changed.",
    });
  }
  visit(document, {
    Pair(_index, { key }) {
      const value = isScalar(key) ? key.value : key;
      // What reads the file further on would leave the one out in silence, and make up a text for the other.
      if (value === "__proto__") throw new Error("__proto__ can't be a key");
      if (typeof value === "object" && value !== null) throw new Error("only a plain value can be a key");
    },
  });
  return document.toJS({ maxAliasCount: MAX_YAML_REFERENCES });
}

/** The library's composer recurses, and a stack that runs out inside of it can end the process. Its parser does not. */
function checkDepth(text: string): void {
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    for (const _done of parser.next(lexeme));
    if (parser.stack.length <= MAX_YAML_DEPTH) continue;
    throw new FlagbackError({
      code: "malformed_yaml",
      message: `The file is nested deeper than ${MAX_YAML_DEPTH} levels.`,
      hint: "Nest less; nothing was changed.",
    });
  }
}

/** The same for a file that came as a JSON value. */
export function desired(value: unknown): DesiredState {
  const parsed = ConfigFile.safeParse(value);
  if (!parsed.success) {
    const problems = describeProblems(parsed.error.issues, ConfigFile);
    throw problemsError(problemsCode(parsed.error.issues), problems);
  }
  const { state, problems } = desiredState(parsed.data);
  const first = problems[0];
  if (first) throw problemsError(first.includes("weights sum") ? "weights_do_not_sum" : "bad_request", problems);
  return state;
}

function problemsError(code: ErrorCode, problems: readonly string[]): FlagbackError {
  return new FlagbackError({
    code,
    message:
      problems.length === 1 ? `${problems[0]}.` : `The file has ${problems.length} problems. First: ${problems[0]}.`,
    hint: "Correct the file; nothing was changed.",
    problems,
  });
}
