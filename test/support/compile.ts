/**
 * TypeScript over files of a test's own, against our sources.
 */
import { fileURLToPath } from "node:url";
import ts from "typescript";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Files of the disk: every program of a test file reads the same. */
const parsed = new Map<string, ts.SourceFile>();

export interface TypeProblem {
  /** Counted from 1. */
  readonly line: number;
  readonly text: string;
}

/** Type errors by path. The files exist in memory only, each in a real folder, from which its imports resolve. */
export function compile(
  files: ReadonlyMap<string, string>,
  changed: ts.CompilerOptions = {},
): ReadonlyMap<string, readonly TypeProblem[]> {
  const base = ts.readConfigFile(`${ROOT}tsconfig.base.json`, ts.sys.readFile).config;
  const { options: shared } = ts.convertCompilerOptionsFromJson(base.compilerOptions, ROOT);
  const options = { ...shared, composite: false, noEmit: true, noUnusedLocals: false, ...changed };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists.call(host, path);
  host.readFile = (path) => files.get(path) ?? readFile.call(host, path);
  host.getSourceFile = (path, version, ...rest) => {
    const code = files.get(path);
    if (code !== undefined) return ts.createSourceFile(path, code, version, true);
    const source = parsed.get(path) ?? getSourceFile.call(host, path, version, ...rest);
    if (source) parsed.set(path, source);
    return source;
  };
  const program = ts.createProgram([...files.keys()], options, host);
  return new Map([...files.keys()].map((path) => [path, problemsOf(program, path)]));
}

function problemsOf(program: ts.Program, path: string): TypeProblem[] {
  const source = program.getSourceFile(path);
  const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
  return found.map(({ start = 0, messageText }) => ({
    line: (source?.getLineAndCharacterOfPosition(start).line ?? 0) + 1,
    text: ts.flattenDiagnosticMessageText(messageText, "\n"),
  }));
}
