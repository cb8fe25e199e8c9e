/**
 * The server's log: one JSON object a line on standard error, with its level by name and its time in ISO 8601. `error` means that
 * a person must act.
 */
import { FlagbackError } from "@flagback/schemas";
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

/** Logs as an error what a person must see to; the disk's failures are told of once, by whoever watches it. */
export function logUnlessTheDisk(log: Pick<Logger, "error">, error: unknown, what: string): void {
  if (error instanceof FlagbackError && error.code === "database_unavailable") return;
  log.error({ err: error }, what);
}
