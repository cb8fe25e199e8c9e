/**
 * Reads a configuration's files: YAML or JSON, then the schema, then what only the whole can show. Each step names all that is
 * wrong at once, with file, line and column.
 */
import { type Ownership, targetOf } from "@flagback/core";
import {
  aliasOfVersionId,
  CONFIG_BLOCKS,
  ConfigFile,
  type ConfigProblem,
  type DesiredState,
  desiredState,
  type ErrorCode,
  FlagbackError,
} from "@flagback/schemas";
import { type MergedFiles, mergeFiles, type ParsedFile } from "./merge-files.ts";
import { describeProblems, problemsCode } from "./problems.ts";
import { type ConfigText, malformed, readSource, type Source } from "./source.ts";

export interface Configuration {
  readonly desired: DesiredState;
  /** Blocks that a file has. */
  readonly blocks: Ownership["blocks"];
}

/**
 * What files of YAML or JSON ask for, as one.
 * @throws FlagbackError `malformed_yaml`, `unknown_key`, `weights_do_not_sum`, `payload_too_large` or `bad_request`, listing
 * every problem.
 */
export function readConfig(texts: readonly ConfigText[]): Configuration {
  const read = texts.map(readSource);
  const unreadable = read.flatMap(({ problems }) => problems);
  if (unreadable.length > 0) throw malformed(unreadable);
  return configurationOf(read.flatMap(({ source }) => source ?? []));
}

/** The same for one file that came as a JSON value, which has no lines. */
export function configurationOfValue(value: unknown): Configuration {
  return configurationOf([{ value, placeOf: () => "" }]);
}

/** What a text says in YAML, of which JSON is a part. @throws FlagbackError `malformed_yaml` with line and column */
export function readYaml(text: string): unknown {
  const { source, problems } = readSource({ text });
  if (!source) throw malformed(problems);
  return source.value;
}

/** The desired state that the text means. */
export function parseConfig(text: string): DesiredState {
  return readConfig([{ text }]).desired;
}

export function desired(value: unknown): DesiredState {
  return configurationOfValue(value).desired;
}

function configurationOf(sources: readonly Source[]): Configuration {
  const merged = mergeFiles(parsedFiles(sources));
  if (merged.problems.length > 0) throw problemsError("bad_request", merged.problems);
  const { state, problems } = desiredState(merged.file);
  if (problems.length > 0)
    throw problemsError(
      codeOf(problems),
      problems.map((each) => placed(merged, each)),
    );
  const blocks = CONFIG_BLOCKS.filter((block) => merged.file[block] !== undefined);
  return { desired: { ...state, places: placesOf(merged) }, blocks };
}

function parsedFiles(sources: readonly Source[]): ParsedFile[] {
  const parsed = sources.map((source) => ({ source, result: ConfigFile.safeParse(source.value ?? {}) }));
  const bad = parsed.flatMap(({ source, result }) => (result.success ? [] : [{ source, issues: result.error.issues }]));
  if (bad.length > 0) {
    const code = problemsCode(bad.flatMap(({ issues }) => issues));
    throw problemsError(
      code,
      bad.flatMap(({ source, issues }) => describeProblems(issues, ConfigFile, source.placeOf)),
    );
  }
  return parsed.flatMap(({ source, result }) => (result.success ? { source, file: result.data } : []));
}

function codeOf(problems: readonly ConfigProblem[]): ErrorCode {
  return problems[0]?.message.includes("weights sum") ? "weights_do_not_sum" : "bad_request";
}

function placed({ placeOf }: MergedFiles, { path, message }: ConfigProblem): string {
  const place = placeOf(path);
  return place === "" ? message : `${place}: ${message}`;
}

/** Where each document is asked for: where it is listed, else where it is first named. */
function placesOf({ file, placeOf }: MergedFiles): Map<string, string> {
  const places = new Map<string, string>();
  const note = (target: string, path: readonly PropertyKey[]) => {
    const place = placeOf(path);
    if (place !== "" && !places.has(target)) places.set(target, place);
  };
  for (const block of ["aliases", "killSwitches", "flags", "triggers"] as const) {
    for (const key of Object.keys(file[block] ?? {})) note(targetOf({ block, key }), [block, key]);
  }
  for (const [index, { id }] of (file.versions ?? []).entries()) {
    note(targetOf({ block: "versions", key: id }), ["versions", index]);
  }
  for (const [name, { candidates }] of Object.entries(file.aliases ?? {})) {
    for (const [index, { id }] of candidates.entries()) {
      note(targetOf({ block: "versions", key: id }), ["aliases", name, "candidates", index, "id"]);
    }
  }
  const { rollback } = file;
  if (rollback) {
    const alias = rollback.alias ?? aliasOfVersionId(rollback.stable_version);
    if (alias !== undefined) note(targetOf({ block: "aliases", key: alias }), ["rollback"]);
  }
  return places;
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
