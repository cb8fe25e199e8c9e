/**
 * Reads a configuration file's text: YAML or JSON, then the schema, then what only the whole file can show.
 */
import { ConfigFile, type DesiredState, desiredState, FlagbackError } from "@flagback/schemas";
import { LineCounter, parseDocument } from "yaml";
import { describeProblems } from "./problems.ts";

/**
 * The desired state that the text means.
 * @throws FlagbackError `malformed_yaml` with line and column, `unknown_key`, `weights_do_not_sum` or `bad_request`, listing
 * every problem.
 */
export function parseConfig(text: string): DesiredState {
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
  return desired(document.toJS() ?? {});
}

/** The same for a file that came as a JSON value. */
export function desired(value: unknown): DesiredState {
  const parsed = ConfigFile.safeParse(value);
  if (!parsed.success) {
    const problems = describeProblems(parsed.error.issues, ConfigFile);
    const unknownKey = parsed.error.issues.every((issue) => issue.code === "unrecognized_keys");
    throw problemsError(unknownKey ? "unknown_key" : "bad_request", problems);
  }
  const { state, problems } = desiredState(parsed.data);
  const first = problems[0];
  if (first) throw problemsError(first.includes("weights sum") ? "weights_do_not_sum" : "bad_request", problems);
  return state;
}

function problemsError(
  code: "unknown_key" | "bad_request" | "weights_do_not_sum",
  problems: readonly string[],
): FlagbackError {
  return new FlagbackError({
    code,
    message:
      problems.length === 1 ? `${problems[0]}.` : `The file has ${problems.length} problems. First: ${problems[0]}.`,
    hint: "Correct the file; nothing was changed.",
    problems,
  });
}
