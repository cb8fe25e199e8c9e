/**
 * The server's log: one JSON object a line on standard error, with its level by name and its time in ISO 8601. `error` means that
 * a person must act.
 */
import { type DestinationStream, type Logger, pino } from "pino";

const STANDARD_ERROR = 2;

export function createLog(level: string, destination: DestinationStream = pino.destination(STANDARD_ERROR)): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
}
