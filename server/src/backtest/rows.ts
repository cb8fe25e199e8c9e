/**
 * Recorded outcomes as rows, one at a time, however large the file: CSV with a header, or JSON lines.
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createInterface } from "node:readline";
import { FlagbackError, Outcome, VersionId } from "@flagback/schemas";
import { parse } from "csv-parse";

/** One recorded run. `line` is where it stands in the file, from 1. */
export type Row =
  | { readonly line: number; readonly bytes: number; readonly outcome: Outcome; readonly startedMs: number | undefined }
  | { readonly line: number; readonly bytes: number; readonly problem: string };

/** The columns of the file that say nothing about an outcome. */
export interface RowSource {
  readonly rows: AsyncIterable<Row>;
  readonly totalBytes: number;
  /** Known once the first row was read. */
  readonly ignoredColumns: ReadonlySet<string>;
}

const CHUNK_BYTES = 1024 * 1024;
const KNOWN = new Set(Object.keys(Outcome.shape));
/** Other names for a column, as recordings have them. */
const SYNONYMS: Readonly<Record<string, string>> = {
  latencyMs: "durationMs",
  success: "status",
  escalatedToHuman: "status",
};
const TRUE = new Set(["1", "true", "yes", "success"]);
const FALSE = new Set(["0", "false", "no", "failure"]);

/** Opens a recording. `alias` and `version` are what rows have that don't name their own. */
export async function openRows(
  file: string,
  defaults: { readonly alias: string; readonly version: string },
): Promise<RowSource> {
  const totalBytes = await sizeOf(file);
  const ignoredColumns = new Set<string>();
  const records = /\.(jsonl|ndjson|json)$/i.test(file) ? jsonLines(file) : csvRecords(file);
  const rows = (async function* (): AsyncGenerator<Row> {
    for await (const { line, bytes, record, problem } of records) {
      yield problem === undefined ? toRow(line, bytes, record, defaults, ignoredColumns) : { line, bytes, problem };
    }
  })();
  return { rows, totalBytes, ignoredColumns };
}

interface RawRecord {
  readonly line: number;
  readonly bytes: number;
  readonly record: Readonly<Record<string, unknown>>;
  readonly problem?: string;
}

async function sizeOf(file: string): Promise<number> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    throw new FlagbackError(
      {
        code: "usage",
        message: `${file} can't be read: ${(error as Error).message}.`,
        hint: "Give a CSV file with a header, or JSON lines (.jsonl), with --outcomes FILE.",
      },
      { cause: error },
    );
  }
}

async function* csvRecords(file: string): AsyncGenerator<RawRecord> {
  const parser = createReadStream(file, { highWaterMark: CHUNK_BYTES }).pipe(
    parse({ columns: true, bom: true, info: true, relax_column_count: true, skip_empty_lines: true, trim: true }),
  );
  for await (const { record, info } of parser) {
    const { lines, bytes, error } = info as { lines: number; bytes: number; error?: { message: string } };
    yield { line: lines, bytes, record, ...(error ? { problem: error.message } : {}) };
  }
}

async function* jsonLines(file: string): AsyncGenerator<RawRecord> {
  let line = 0;
  let bytes = 0;
  for await (const text of createInterface({ input: createReadStream(file, { highWaterMark: CHUNK_BYTES }) })) {
    line += 1;
    bytes += text.length + 1;
    if (text.trim() === "") continue;
    try {
      const record: unknown = JSON.parse(text);
      const isObject = typeof record === "object" && record !== null && !Array.isArray(record);
      if (isObject) yield { line, bytes, record: record as Record<string, unknown> };
      else yield { line, bytes, record: {}, problem: "not a JSON object" };
    } catch (error) {
      yield { line, bytes, record: {}, problem: `no JSON: ${(error as Error).message}` };
    }
  }
}

function toRow(
  line: number,
  bytes: number,
  record: RawRecord["record"],
  defaults: { readonly alias: string; readonly version: string },
  ignoredColumns: Set<string>,
): Row {
  const value: Record<string, unknown> = { runId: `row-${line}`, ...defaults };
  let isEscalated = false;
  for (const [column, raw] of Object.entries(record)) {
    if (raw === "" || raw === null || raw === undefined) continue;
    const name = camelCase(column);
    const field = SYNONYMS[name] ?? name;
    if (!KNOWN.has(field)) ignoredColumns.add(column);
    else if (name === "success") value.status = statusOf(raw);
    else if (name === "escalatedToHuman") isEscalated = TRUE.has(String(raw).toLowerCase());
    else value[field] = typed(field, raw);
  }
  if (isEscalated && value.status !== "success") value.status = "escalated";
  const version = VersionId.safeParse(value.version);
  if (!version.success) value.version = defaults.version;
  const parsed = Outcome.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return { line, bytes, problem: `${issue?.path.join(".") || "row"}: ${issue?.message}` };
  }
  const { startedAt } = parsed.data;
  return { line, bytes, outcome: parsed.data, startedMs: startedAt === undefined ? undefined : Date.parse(startedAt) };
}

function statusOf(raw: unknown): unknown {
  const text = String(raw).toLowerCase();
  if (TRUE.has(text)) return "success";
  return FALSE.has(text) ? "failure" : raw;
}

const NUMBERS = new Set([
  "durationMs",
  "toolCalls",
  "toolErrors",
  "writes",
  "blockedWrites",
  "costUsd",
  "inputTokens",
  "outputTokens",
  "quality",
]);
const FLAGS = new Set(["isDefault", "drill"]);
const DOCUMENTS = new Set(["safetyFlags", "attributes", "metrics"]);

/** CSV has text only; JSON lines have types already. */
function typed(field: string, raw: unknown): unknown {
  if (typeof raw !== "string") return raw;
  if (NUMBERS.has(field)) return Number(raw);
  if (FLAGS.has(field)) return TRUE.has(raw.toLowerCase());
  if (!DOCUMENTS.has(field)) return raw;
  try {
    return JSON.parse(raw);
  } catch {
    return field === "safetyFlags" ? raw.split(/[\s;|]+/) : raw;
  }
}

function camelCase(column: string): string {
  return column.replace(/_+([a-z0-9])/gi, (_whole, letter: string) => letter.toUpperCase());
}
