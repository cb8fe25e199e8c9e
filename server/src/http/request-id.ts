/**
 * The name of a request: in its answer, in the errors that it gets, and on each line of the log that is about it.
 */
import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

export const REQUEST_ID_HEADER = "x-request-id";

/** What proxies and tracers make: letters, digits and a few signs that need no quotes anywhere. */
const WELL_FORMED = /^[A-Za-z0-9._:=+/-]{1,128}$/;
/** A token in the wrong header must not get into the log. */
const TOKEN = /fb_/i;

/** The caller's own id where it is well-formed, else a fresh one. */
export function requestIdOf(headers: IncomingHttpHeaders): string {
  const given = headers[REQUEST_ID_HEADER];
  const isUsable = typeof given === "string" && WELL_FORMED.test(given) && !TOKEN.test(given);
  return isUsable ? given : randomUUID();
}
