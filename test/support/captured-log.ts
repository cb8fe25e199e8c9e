/**
 * The server's own log, kept instead of written.
 */
import type { Logger } from "pino";
import { createLog } from "../../server/src/telemetry/log.ts";

export type LogLine = Readonly<Record<string, unknown>> & { readonly level: string; readonly msg: string };

export interface CapturedLog {
  readonly log: Logger;
  lines(): readonly LogLine[];
}

export function captureLog(level = "debug"): CapturedLog {
  const written: string[] = [];
  const log = createLog(level, { write: (line) => void written.push(line) });
  return { log, lines: () => written.map((line) => JSON.parse(line) as LogLine) };
}
