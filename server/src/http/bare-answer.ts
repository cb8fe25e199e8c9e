/**
 * Answers on a socket that has no reply: an upgrade, or what is no HTTP at all.
 */
import type { Duplex } from "node:stream";
import { FlagbackError, problemOf } from "@flagback/schemas";
import { REFUSED_LINGER_MS } from "../limits.ts";
import { REQUEST_ID_HEADER } from "./request-id.ts";
import { errorHeaders } from "./retry-later.ts";

/** Answers the error and ends the socket, whether or not its peer ends its side. What is no request has no id. */
export function refuse(
  socket: Duplex,
  error: FlagbackError,
  headers: Readonly<Record<string, string>>,
  requestId?: string,
): void {
  const body = JSON.stringify(problemOf(error, requestId));
  const lines = Object.entries({
    connection: "close",
    "content-type": "application/problem+json",
    "content-length": String(Buffer.byteLength(body)),
    ...headers,
    ...errorHeaders(error),
    ...(requestId === undefined ? {} : { [REQUEST_ID_HEADER]: requestId }),
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${error.status} ${error.code}\r\n${lines.join("")}\r\n${body}`);
  // Read on, because an unread byte would turn the end into a reset that can overtake the answer; but not for ever.
  socket.resume();
  const lingers = setTimeout(() => socket.destroy(), REFUSED_LINGER_MS);
  lingers.unref();
  socket.once("close", () => clearTimeout(lingers));
}

/** What came too slowly, is no HTTP or no TLS, or has too long headers: no request, so no handler ever sees it. */
export function refuseMalformed(
  error: Error & { readonly code?: string },
  socket: Duplex,
  headers: Readonly<Record<string, string>>,
): void {
  const isUnspeakable = error.code === "ECONNRESET" || /^ERR_(SSL|TLS)_/.test(error.code ?? "");
  if (isUnspeakable || !socket.writable) {
    socket.destroy();
    return;
  }
  refuse(
    socket,
    new FlagbackError({
      code: "bad_request",
      message: `This is no request that HTTP/1.1 knows (${error.code ?? error.message}).`,
      hint: "Send one whole request with headers of at most 16 KiB, without long pauses.",
    }),
    headers,
  );
}
