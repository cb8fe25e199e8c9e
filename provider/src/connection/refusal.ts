/**
 * An HTTP status where something else was wanted: who says it, and what it asks for.
 */
import { CLOSE } from "@flagback/schemas";
import type { ConnectionEffect, SocketEnd } from "./state.ts";

/** What the headers of a refusal say: whether it is the server's own, and when to come back. */
export function describeRefusal(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): Pick<SocketEnd, "isProblem" | "retryAfterMs"> {
  const type = headers["content-type"];
  const isProblem = typeof type === "string" && type.startsWith("application/problem+json");
  const seconds = Number(headers["retry-after"] ?? Number.NaN);
  return { isProblem, ...(Number.isFinite(seconds) && seconds >= 0 && { retryAfterMs: seconds * 1_000 }) };
}

/** Anything in between may answer 403; only the server's own says something about the token. */
export function isTokenRefused({ code, httpStatus, isProblem }: Omit<SocketEnd, "detail">): boolean {
  return code === CLOSE.unauthorized || httpStatus === 401 || (httpStatus === 403 && isProblem === true);
}

/** What a refused token asks for: somebody to look at it. */
export function tokenRefused(httpStatus: number): readonly ConnectionEffect[] {
  return [
    { kind: "refused", httpStatus },
    {
      kind: "problem",
      level: "error",
      key: "token.refused",
      message: `the server refuses the token (${httpStatus}); check it with 'flagback token'. Trying again every few minutes`,
    },
  ];
}
