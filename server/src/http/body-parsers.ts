/**
 * Bodies as text that has one meaning: UTF-8, and JSON in which no key comes twice and nothing nests without end.
 */
import { isUtf8 } from "node:buffer";
import { FlagbackError, MAX_JSON_DEPTH } from "@flagback/schemas";
import type { FastifyRequest } from "fastify";
import { shortened } from "../config/problems.ts";
import type { App } from "./context.ts";
import { jsonProblem } from "./json-problem.ts";

/** What a payload may have, and the request around it; the same as for YAML. */
const MAX_BODY_DEPTH = MAX_JSON_DEPTH + 16;

export function parseBodies(app: App): void {
  // Refuses `__proto__` and `constructor.prototype`, and what is no JSON.
  const parseJson = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<Buffer>("application/json", { parseAs: "buffer" }, (request, body, done) => {
    const unreadable = problemOfBytes(request, body);
    if (unreadable) return done(unreadable);
    const text = body.toString();
    return parseJson(request, text, (error, value) => {
      // Fastify would say of each that the content type is wrong.
      if (error && text !== "") return done(badJson(isJson(text) ? "sets an object's prototype" : "is no JSON"));
      const problem = error ? undefined : jsonProblem(text, MAX_BODY_DEPTH);
      if (problem === undefined) done(error, value);
      else done(badJson(problem));
    });
  });
  app.addContentTypeParser<Buffer>(
    ["text/yaml", "application/yaml", "application/x-yaml", "text/plain"],
    { parseAs: "buffer" },
    (request, body, done) => {
      const unreadable = problemOfBytes(request, body);
      if (unreadable) done(unreadable);
      else done(null, body.toString());
    },
  );
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function problemOfBytes({ headers }: Pick<FastifyRequest, "headers">, body: Buffer): FlagbackError | undefined {
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") {
    return new FlagbackError({
      code: "bad_request",
      message: `The request's body has content-encoding ${shortened(encoding)}.`,
      hint: "Send it as it is: what is compressed may be of any size, and nothing was changed.",
    });
  }
  if (isUtf8(body)) return undefined;
  return new FlagbackError({
    code: "bad_request",
    message: "The request's body is not UTF-8.",
    hint: "Send it as UTF-8; nothing is guessed, and nothing was changed.",
  });
}

function badJson(problem: string): FlagbackError {
  return new FlagbackError({
    code: "bad_request",
    message: `The request's body ${problem}.`,
    hint: "Correct it; nothing was changed.",
  });
}
