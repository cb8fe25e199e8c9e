/**
 * The recorded agent runs that the demo replays (assets/README.md says where they come from).
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** One run as it was recorded. */
export interface RecordedRun {
  readonly isSuccess: boolean;
  readonly assistantTurns: number;
  readonly toolCalls: number;
  readonly toolErrors: number;
  readonly writes: number;
}

const COLUMNS = "task_id,trial,success,assistant_turns,tool_calls,tool_errors,writes,escalated_to_human";

/** The package's `assets` folder is as far from `src/demo` as from `dist/demo`. */
export function assetPath(name: string): string {
  return fileURLToPath(new URL(`../../assets/${name}`, import.meta.url));
}

export async function readRecordedRuns(): Promise<readonly RecordedRun[]> {
  return parseRecordedRuns(await readFile(assetPath("agent-runs.csv"), "utf8"));
}

/** @throws RangeError when a line is not what the columns say; the file ships with the package, so it is a broken one */
export function parseRecordedRuns(csv: string): readonly RecordedRun[] {
  const [head, ...lines] = csv.trim().split(/\r?\n/);
  if (head !== COLUMNS) throw new RangeError(`agent-runs.csv begins with ${head}, not with ${COLUMNS}`);
  return lines.map((line, index) => {
    const cells = line.split(",").map(Number);
    const [, , success, assistantTurns, toolCalls, toolErrors, writes, escalated] = cells;
    if (
      success === undefined ||
      assistantTurns === undefined ||
      toolCalls === undefined ||
      toolErrors === undefined ||
      writes === undefined ||
      escalated === undefined ||
      !cells.every((cell) => Number.isInteger(cell) && cell >= 0)
    ) {
      throw new RangeError(`agent-runs.csv, line ${index + 2}: ${line} is not ${COLUMNS}`);
    }
    return { isSuccess: success === 1, assistantTurns, toolCalls, toolErrors, writes };
  });
}
